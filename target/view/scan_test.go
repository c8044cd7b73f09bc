package view

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// plan is a disk of extents that come out of order; it counts what is in memory.
type plan struct {
	extents []redoubt.Extent
	fail    int // the load that fails; -1: none
	err     error
	lookup  error        // of the extent behind the last
	held    atomic.Int64 // bytes that were asked for and not delivered yet
	most    atomic.Int64
	under   atomic.Int32
}

func (p *plan) next(from uint64) (redoubt.Extent, bool, error) {
	i, _ := slices.BinarySearchFunc(p.extents, from, func(e redoubt.Extent, off uint64) int { return cmp.Compare(e.Off, off) })
	if i == len(p.extents) {
		return redoubt.Extent{}, false, p.lookup
	}
	e := p.extents[i]
	n := p.held.Add(int64(e.Len))
	p.most.Store(max(p.most.Load(), n))
	return e, true, nil
}

func (p *plan) loads(ctx context.Context, ls []*load, start func(func(context.Context)) error) {
	for _, i := range rand.Perm(len(ls)) { // of the log's order, which is another
		l := ls[i]
		l.add()
		if err := start(func(context.Context) {
			if n := p.under.Add(1); n > parallelStretches {
				panic("too many fetches")
			}
			defer p.under.Add(-1)
			if n := len(l.p); n > 0 { // an error has no bytes
				l.p[0], l.p[n-1] = byte(l.Off>>9), byte(l.Off>>9)
			}
			var err error
			if p.fail >= 0 && p.extents[p.fail].Off == l.Off {
				err = p.err
			}
			l.finish(err)
		}); err != nil {
			l.finish(err)
		}
	}
	for _, l := range ls {
		l.finish(ctx.Err())
	}
}

func (p *plan) each(ctx context.Context, fn func(i int) error) (int, error) {
	i := 0
	s := newScan(p.next, p.loads)
	err := s.each(ctx, func(off uint64, b []byte) error {
		e := p.extents[i]
		if off != e.Off || uint64(len(b)) != e.Len || b[0] != byte(off>>9) || b[len(b)-1] != byte(off>>9) {
			return redoubt.ErrCorrupt
		}
		i++
		p.held.Add(-int64(e.Len))
		return fn(i)
	})
	return i, err
}

func planOf(rng *rand.Rand, n int, most uint64) *plan {
	p := &plan{fail: -1}
	at := uint64(0)
	for range n {
		e := redoubt.Extent{Off: at + 512*rng.Uint64N(100), Len: 512 * (1 + rng.Uint64N(most/512))}
		at = e.End()
		p.extents = append(p.extents, e)
	}
	return p
}

// Extents come in order and whole whatever order they are fetched in: in many
// windows, in a short one, with and without holes, and more than a window may have.
func TestScanIsInOrder(t *testing.T) {
	rng := seeded.Rand(t)
	for _, p := range []*plan{planOf(rng, 40, nextDataMax), planOf(rng, 3, 4096), planOf(rng, 3*scanExtents, 512), {fail: -1}} {
		n, err := p.each(t.Context(), func(int) error { return nil })
		if err != nil || n != len(p.extents) {
			t.Errorf("%d extents of %d: %v", n, len(p.extents), err)
		}
		if most := p.most.Load(); most > scanBytes+nextDataMax {
			t.Errorf("%d bytes in memory", most)
		}
	}
}

// What goes before an error is delivered, nothing after it; and nothing is under
// way when the scan has returned.
func TestScanErrors(t *testing.T) {
	rng := seeded.Rand(t)
	boom := errors.New("boom")
	for _, fail := range []int{0, 5, 30} {
		p := planOf(rng, 40, nextDataMax)
		p.fail, p.err = fail, boom
		if n, err := p.each(t.Context(), func(int) error { return nil }); !errors.Is(err, boom) || n != fail {
			t.Errorf("load %d fails: %d delivered, %v", fail, n, err)
		}
		p = planOf(rng, 40, nextDataMax)
		if n, err := p.each(t.Context(), func(i int) error {
			if i > fail {
				return boom
			}
			return nil
		}); !errors.Is(err, boom) || n != fail+1 {
			t.Errorf("reader %d fails: %d delivered, %v", fail, n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		p = planOf(rng, 40, nextDataMax)
		if n, err := p.each(ctx, func(i int) error {
			if i > fail {
				cancel()
			}
			return nil
		}); !errors.Is(err, context.Canceled) || n != fail+1 {
			t.Errorf("cancelled after %d: %d delivered, %v", fail, n, err)
		}
		cancel()
		if n := p.under.Load(); n != 0 {
			t.Errorf("%d fetches go on", n)
		}
	}
	p := planOf(rng, 10, 4096)
	p.lookup = boom
	if n, err := p.each(t.Context(), func(int) error { return nil }); !errors.Is(err, boom) || n != 10 {
		t.Errorf("no more extents: %d delivered, %v", n, err)
	}
}

// A reader that stops holds everything back: no more than two windows are taken.
func TestScanOfAReaderThatStops(t *testing.T) {
	p := planOf(seeded.Rand(t), 200, nextDataMax)
	for i := range p.extents {
		p.extents[i].Len = nextDataMax
		if i > 0 {
			p.extents[i].Off = p.extents[i-1].End()
		}
	}
	full := int64(scanBytes)
	n, err := p.each(t.Context(), func(i int) error {
		if i == 1 {
			// All that fits is taken while the reader stands still, and then no more.
			for p.held.Load() < full {
				runtime.Gosched()
			}
		}
		return nil
	})
	if err != nil || n != len(p.extents) {
		t.Fatalf("%d of %d: %v", n, len(p.extents), err)
	}
	// One more extent is known of that waits for its memory, and the one delivered
	// is not counted any more while fn has it.
	if most := p.most.Load(); most > full+nextDataMax {
		t.Fatalf("%d bytes in memory", most)
	}
}
