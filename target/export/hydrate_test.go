package export

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// memBase is a disk in memory whose reads can be made to fail.
type memBase struct {
	b     []byte
	gone  atomic.Bool
	reads atomic.Int64 // bytes by ReadThrough
	stop  func(read int64)
}

func (m *memBase) ReadAt(p []byte, off uint64) error {
	if m.gone.Load() {
		return redoubt.ErrUnavailable
	}
	copy(p, m.b[off:])
	return nil
}

func (m *memBase) ReadThrough(p []byte, off uint64) error {
	if n := m.reads.Add(int64(len(p))); m.stop != nil {
		m.stop(n)
	}
	return m.ReadAt(p, off)
}

// NextData finds data by sectors, so that extents do not fit blocks.
func (m *memBase) NextData(from uint64) (redoubt.Extent, bool, error) {
	if m.gone.Load() {
		return redoubt.Extent{}, false, redoubt.ErrUnavailable
	}
	data := func(at uint64) bool { return len(bytes.Trim(m.b[at:min(at&^511+512, uint64(len(m.b)))], "\x00")) > 0 }
	for ; from < uint64(len(m.b)); from = from&^511 + 512 {
		if data(from) {
			e := redoubt.Extent{Off: from}
			for from < uint64(len(m.b)) && data(from) && e.Len < 64<<10 {
				from = min(from&^511+512, uint64(len(m.b)))
				e.Len = from - e.Off
			}
			return e, true, nil
		}
	}
	return redoubt.Extent{}, false, nil
}

func newMemBase(rng *rand.Rand, size int) *memBase {
	m := &memBase{b: make([]byte, size)}
	for i := 0; i+1024 < size; i += 512 * (1 + rng.IntN(120)) {
		for j := range 512 * (1 + rng.IntN(2)) {
			m.b[i+j] = byte(1 + rng.UintN(255))
		}
	}
	return m
}

type rig struct {
	t    *testing.T
	path string
	base *memBase
	o    *Overlay
	h    *hydrator
}

func newRig(t *testing.T, rng *rand.Rand, size int) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "disk"), base: newMemBase(rng, size)}
	r.open()
	t.Cleanup(func() {
		r.h.stop()
		r.o.Close()
	})
	return r
}

func (r *rig) open() {
	r.t.Helper()
	var err error
	if r.o, err = OpenOverlay(r.path, r.base, uint64(len(r.base.b))); err != nil {
		r.t.Fatal(err)
	}
	r.h = newHydrator([]*Overlay{r.o}, []hydrationBase{r.base}, 1<<40, slog.New(slog.DiscardHandler))
	r.h.free = func(*Overlay) (uint64, error) { return 1 << 40, nil }
}

func (r *rig) check(want []byte) {
	r.t.Helper()
	got := make([]byte, len(want))
	if err := r.o.ReadAt(got, 0); err != nil {
		r.t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		r.t.Fatal("the disk is not what it should be")
	}
}

func (r *rig) whole() {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !r.h.status().Complete {
		if time.Now().After(deadline) {
			r.t.Fatalf("not hydrated: %+v", r.h.status())
		}
		time.Sleep(time.Millisecond) // it tells nobody but status
	}
}

func TestHydratedDiskNeedsNoBase(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := newRig(t, rng, 9<<20+512)
	r.h.start()
	r.whole()
	r.base.gone.Store(true)
	r.check(r.base.b)
	if s := r.h.status(); s.Done != s.Total || s.Total != uint64(len(r.base.b)) {
		t.Fatalf("status %+v", s)
	}
	// And neither after a crash: all of it was synced.
	r.o.Close()
	r.open()
	r.check(r.base.b)
}

// Clients write while the disk is hydrated, and it dies in the middle, again
// and again: every read is the model's, and what was synced is not read again.
func TestHydrationUnderWritesAndCrashes(t *testing.T) {
	rng := seeded.Rand(t)
	const size = 4 << 20
	r := newRig(t, rng, size)
	want := bytes.Clone(r.base.b)
	for range 4 {
		crash := make(chan struct{})
		limit := r.base.reads.Load() + int64(rng.IntN(size/2))
		var once sync.Once
		h := r.h
		r.base.stop = func(n int64) {
			if n > limit {
				once.Do(func() { close(crash) })
				h.end()
			}
		}
		h.start()
		for range 50 {
			n := 512 * (1 + rng.IntN(40))
			off := rng.IntN((size-n)/512) * 512
			p := want[off : off+n]
			if rng.IntN(4) == 0 {
				clear(p)
				if err := r.o.Zero(redoubt.Extent{Off: uint64(off), Len: uint64(n)}, false); err != nil {
					t.Fatal(err)
				}
			} else {
				for i := range p {
					p[i] = byte(rng.UintN(256))
				}
				if err := r.o.WriteAt(p, uint64(off)); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.check(want)
		if err := r.o.Sync(); err != nil {
			t.Fatal(err)
		}
		h.stop()
		// kill -9: what is not in the log is not the overlay's, whatever the file holds.
		if err := r.o.Close(); err != nil {
			t.Fatal(err)
		}
		r.open()
		r.check(want)
	}
	r.base.stop = nil
	r.h.start()
	r.whole()
	r.base.gone.Store(true)
	r.check(want)
}

func TestHydrationGoesOnWhereItWas(t *testing.T) {
	r := newRig(t, rand.New(rand.NewPCG(3, 4)), 8<<20)
	r.h.start()
	r.whole()
	first := r.base.reads.Load()
	r.h.stop()
	r.o.Close()
	r.open()
	r.h.start()
	r.whole()
	if again := r.base.reads.Load() - first; again != 0 {
		t.Fatalf("%d bytes were read again", again)
	}
}

// Stale bytes of a crash must not show through zeros that are taken over.
func TestAdoptedZerosAreZeros(t *testing.T) {
	r := newRig(t, rand.New(rand.NewPCG(5, 6)), 1<<20)
	clear(r.base.b)
	if err := r.o.data.WriteAt(bytes.Repeat([]byte{9}, 1<<20), 0); err != nil {
		t.Fatal(err)
	}
	r.h.start()
	r.whole()
	r.check(make([]byte, 1<<20))
}

// What a client wrote between the read of the base and the take-over stays.
func TestAdoptLeavesWrites(t *testing.T) {
	r := newRig(t, rand.New(rand.NewPCG(9, 1)), 4*overlayBlock)
	want := bytes.Clone(r.base.b)
	read := bytes.Clone(r.base.b)
	for i := range overlayBlock + 512 {
		want[overlayBlock+i] = 0xaa
	}
	if err := r.o.WriteAt(want[overlayBlock:2*overlayBlock+512], overlayBlock); err != nil {
		t.Fatal(err)
	}
	if err := r.o.adopt(read, 0, uint64(len(read))); err != nil {
		t.Fatal(err)
	}
	r.check(want)
	if err := r.o.adopt(nil, 0, uint64(len(read))); err != nil {
		t.Fatal(err)
	}
	r.check(want)
}

func TestHydrationLeavesRoom(t *testing.T) {
	r := newRig(t, rand.New(rand.NewPCG(7, 8)), 1<<20)
	r.h.free = func(*Overlay) (uint64, error) { return hydrateReserve, nil }
	if err := r.h.disk(r.o, r.base); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("hydration of a full file system: %v", err)
	}
	r.check(r.base.b)
	r.base.gone.Store(true)
	if err := r.h.disk(r.o, r.base); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("hydration without nodes: %v", err)
	}
}
