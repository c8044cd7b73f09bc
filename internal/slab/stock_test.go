package slab

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// What is kept never exceeds the bound, whatever is put, and is counted right.
func TestKept(t *testing.T) {
	rng := seeded.Rand(t)
	s := stock{keep: 8 << 20}
	var out [][]byte
	for range 5000 {
		switch n := rng.IntN(20); {
		case n < 10:
			out = append(out, s.get(Min+rng.IntN(2<<20)))
		case n < 19:
			if len(out) > 0 {
				i := rng.IntN(len(out))
				s.put(out[i])
				out[i] = out[len(out)-1]
				out = out[:len(out)-1]
			}
		default:
			s.shrink()
		}
		sum := 0
		for c := range s.shelves {
			if h := &s.shelves[c]; h.least > len(h.free) {
				t.Fatalf("class %d: at least %d of %d buffers", c, h.least, len(h.free))
			}
			for _, b := range s.shelves[c].free {
				sum += len(b)
			}
		}
		if sum != s.kept || sum > s.keep {
			t.Fatalf("%d bytes are kept, %d are counted, at most %d may be", sum, s.kept, s.keep)
		}
	}
}

// What nobody needs goes; what is in use again and again stays.
func TestShrink(t *testing.T) {
	s := stock{keep: 64 << 20}
	const n = 1 << 20
	var bufs [][]byte
	for range 32 {
		bufs = append(bufs, s.get(n))
	}
	for _, b := range bufs {
		s.put(b)
	}
	for range 10 {
		a, b := s.get(n), s.get(n)
		s.put(a)
		s.put(b)
		s.shrink()
	}
	a, b := s.get(n), s.get(n)
	if s.kept != 0 {
		t.Errorf("%d bytes are kept beside two buffers in use", s.kept)
	}
	s.put(a)
	s.put(b)
	for range 10 {
		s.shrink()
	}
	if s.kept != 0 {
		t.Errorf("%d bytes are kept that nobody takes", s.kept)
	}
}

// The collector of garbage is what shrinks the stock.
func TestShrinksWithGC(t *testing.T) {
	s := &stock{keep: 64 << 20}
	s.shrinkWithGC()
	s.put(s.get(1 << 20))
	for end := time.Now().Add(30 * time.Second); ; {
		runtime.GC()
		s.mu.Lock()
		kept := s.kept
		s.mu.Unlock()
		if kept == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes are still kept", kept)
		}
	}
}

// Two who work at once never get the same memory.
func TestConcurrent(t *testing.T) {
	s := &stock{keep: 8 << 20}
	var wg sync.WaitGroup
	for id := range 8 {
		wg.Go(func() {
			for i := range 500 {
				b := s.get(Min << (i % 3))
				for k := 0; k < len(b); k += 1024 {
					b[k] = byte(id)
				}
				runtime.Gosched()
				for k := 0; k < len(b); k += 1024 {
					if b[k] != byte(id) {
						t.Errorf("buffer of %d holds %d", id, b[k])
						return
					}
				}
				s.put(b)
				if i%50 == 0 {
					s.shrink()
				}
			}
		})
	}
	wg.Wait()
}

// A buffer on huge pages is ordinary memory.
func TestHuge(t *testing.T) {
	Huge(nil)
	for _, n := range []int{1, 4096, 3 << 20} {
		b := make([]byte, n)
		Huge(b)
		for i := range b {
			if b[i] != 0 {
				t.Fatalf("byte %d of %d is %d", i, n, b[i])
			}
			b[i] = 1
		}
	}
}

// A free buffer that is a little too large is taken before a fresh one is made;
// never one of which more than half would not be used.
func TestLargerBuffer(t *testing.T) {
	s := stock{keep: 64 << 20}
	for n := Min; n <= 8<<20; n = n*5/4 + 1 {
		s.put(s.get(n))
		if s.kept == 0 {
			t.Fatalf("nothing is kept of %d bytes", n)
		}
		for _, c := range []struct {
			n     int
			taken bool
		}{{n, true}, {n*4/5 + 1, true}, {n / 2, false}, {n + n/4 + 4096, false}} {
			if c.n < Min {
				continue
			}
			before := s.kept
			b := s.get(c.n)
			if taken := s.kept < before; taken != c.taken {
				t.Errorf("%d bytes of a buffer of %d: taken %v", c.n, n, taken)
			}
			if len(b) != c.n || cap(b) >= 2*c.n+c.n/4+4096 {
				t.Errorf("%d bytes: length %d, capacity %d", c.n, len(b), cap(b))
			}
			if s.kept < before {
				s.put(b)
			}
		}
		s = stock{keep: 64 << 20}
	}
}
