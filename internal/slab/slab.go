// Package slab recycles large buffers: frames, shards, blocks on their way to a
// disk or a peer. Making each anew costs clearing it, page faults, and a
// collection of garbage every few megabytes.
package slab

import (
	"math/bits"
	"runtime"
	"sync"
)

// Bounds of what is recycled, in bytes. Smaller buffers are cheap, larger ones
// are rare.
const (
	Min = 32 << 10
	Max = 40 << 20
)

// Keep bounds the bytes that nobody uses and that are kept for the whole
// process. How much may be in use, those say who take: a window of deltas,
// Options.PendingBytes, the calls of a connection.
const Keep = 96 << 20

// Classes are four to a doubling, so that at most a fifth of a buffer is not used.
const (
	minShift = 15
	classes  = 4*11 + 1
)

// shelf is the free buffers of one class.
type shelf struct {
	free  [][]byte
	least int // fewest of them since the last shrink
}

// stock is free buffers of all classes. Its methods may be called concurrently.
type stock struct {
	mu      sync.Mutex
	shelves [classes]shelf
	kept    int // bytes on all shelves, at most keep
	keep    int
}

// process is what nobody in this process uses. What was not needed between two
// collections of garbage goes, half of it at each.
var process = stock{keep: Keep}

func init() { process.shrinkWithGC() }

// Get returns n bytes with any content. They are the caller's until Put; who
// never calls that leaves them to the collector of garbage.
func Get(n int) []byte { return process.get(n) }

// Put gives back what Get returned; nobody may use b, or a part of it, any more.
func Put(b []byte) { process.put(b) }

func (s *stock) get(n int) []byte {
	c, size := class(n)
	if c < 0 {
		return make([]byte, n)
	}
	if b := s.take(c); b != nil {
		return b[:n]
	}
	b := make([]byte, size)
	if size >= hugeFrom {
		Huge(b)
	}
	return b[:n]
}

// larger is how many classes above the one that fits a free buffer may be, so
// that at most half of it is not used: what shrinks has many sizes, and a fresh
// buffer costs page faults.
const larger = 3

// take returns the smallest free buffer of class c or a little above, of these
// the one that was put last; nil if there is none.
func (s *stock) take(c int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := c; i <= min(c+larger, classes-1); i++ {
		h := &s.shelves[i]
		n := len(h.free) - 1
		if n < 0 {
			continue
		}
		b := h.free[n]
		h.free[n] = nil
		h.free = h.free[:n]
		h.least = min(h.least, n)
		s.kept -= len(b)
		return b
	}
	return nil
}

func (s *stock) put(b []byte) {
	b = b[:cap(b)]
	c, size := class(len(b))
	if c < 0 || size != len(b) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept+size > s.keep {
		return
	}
	s.kept += size
	s.shelves[c].free = append(s.shelves[c].free, b)
}

// shrink drops half of what nobody took since the last call.
func (s *stock) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.shelves {
		h := &s.shelves[c]
		// The oldest lie below; who takes has not reached them.
		drop := (min(h.least, len(h.free)) + 1) / 2
		for _, b := range h.free[:drop] {
			s.kept -= len(b)
		}
		n := copy(h.free, h.free[drop:])
		clear(h.free[n:])
		h.free = h.free[:n]
		h.least = n
	}
}

// shrinkWithGC calls shrink after each collection of garbage, for ever. So the
// memory follows the need without a clock, and goes when it would be in the way.
func (s *stock) shrinkWithGC() {
	runtime.SetFinalizer(&tick{}, func(*tick) {
		s.shrink()
		s.shrinkWithGC()
	})
}

// tick is what the collector finds. It holds a pointer, so that it is not put
// together with other small objects.
type tick struct{ _ *byte }

// class returns the smallest class whose buffers hold n bytes, and their size;
// -1 if such buffers are not recycled.
func class(n int) (c, size int) {
	if n < Min || n > Max {
		return -1, 0
	}
	// size is (4+quarter) << (shift-2), at least n.
	shift := bits.Len(uint(n-1)) - 1 // 2^shift < n, or n is 2^(shift+1)
	shift = max(shift, minShift-1)
	quarter := 1 << (shift - 2)
	size = (n + quarter - 1) / quarter * quarter
	return 4*(shift-minShift+1) + size/quarter - 5, size
}
