package index

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// shown returns the segments of which a point shows something, zeros included.
func (w *world) shown(p redoubt.Position, out map[headKey]bool) {
	var by [modelDisks][diskSectors]headKey
	for _, sp := range w.spans(p) { // newest first
		for o := sp.Full + 1; o > 0; o-- {
			k := headKey{sp.Series, o - 1}
			es := w.h.m[k]
			for i := len(es) - 1; i >= 0; i-- {
				e := &es[i]
				if o == sp.Full+1 && (!sp.Partial || e.LSN > sp.Upto) {
					continue
				}
				for s := e.Extent.Off / 512; s < e.Extent.End()/512; s++ {
					if at := &by[e.Disk-1][s]; at.Group == "" {
						*at = k
						out[k] = true
					}
				}
			}
		}
	}
}

// thinned keeps some points of a world, and takes away what none of them shows.
type thinned struct {
	*world
	kept []redoubt.Position
	left map[headKey]bool
}

func thin(w *world, rng *rand.Rand, points int) *thinned {
	th := &thinned{world: w, left: map[headKey]bool{}}
	ps := w.positions()
	for e, segs := range w.segs { // what is newest is always kept
		th.kept = append(th.kept, redoubt.Position{Epoch: e, LSN: segs[len(segs)-1][1]})
	}
	for range points {
		th.kept = append(th.kept, ps[rng.IntN(len(ps))])
	}
	for _, p := range th.kept {
		w.shown(p, th.left)
	}
	for k := range w.h.m {
		if !th.left[k] {
			w.h.m[k] = nil // a store says that nothing is in it
		}
	}
	return th
}

func (th *thinned) gone(s Series, from, to uint64) uint64 {
	for o := from; o < to; o++ {
		if th.left[headKey{s, o}] || int(o) >= len(th.segs[s.Epoch]) {
			return o
		}
	}
	return to
}

func (th *thinned) checkKept(t *testing.T, x *Index, rng *rand.Rand) {
	t.Helper()
	for _, p := range th.kept {
		th.check(t, x, p, rng)
	}
}

// Space of what no point shows comes back, whatever a power cut leaves of it;
// every kept point reads as before, also by readers that were open meanwhile.
func TestReclaim(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	w.extend(rng, 1, redoubt.Position{Epoch: 1, LSN: w.segs[1][len(w.segs[1])-1][1]}, 800)
	fs := vfs.NewMem()
	var th *thinned
	o := Options{FileSize: 8 << 10, Reclaim: -1, BigRun: 200, CacheBytes: 32 << 10, Gone: func(s Series, from, to uint64) uint64 {
		if th == nil {
			return from
		}
		return th.gone(s, from, to)
	}}
	x := open(t, fs, w, o)
	addAll(x, w)
	settle(t, x)
	before := x.Stats()
	th = thin(w, rng, 2)
	var readers []*Prefix
	for _, p := range th.kept {
		pre, err := x.Prefix(t.Context(), th.spans(p))
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, pre)
	}
	free := func(context.Context, int64) error { return nil }
	l := &lane{x: x}
	for round := range 40 {
		if _, err := x.Scrub(t.Context(), free); err != nil {
			t.Fatal(err)
		}
		if err := x.reclaim(l); err != nil {
			t.Fatal(err)
		}
		th.checkKept(t, x, rng)
		if round%8 == 0 {
			y := open(t, fs.Clone(rand.New(rand.NewPCG(rng.Uint64(), 2))), w, o)
			addAll(y, w)
			th.checkKept(t, y, rng)
			settle(t, y)
			th.checkKept(t, y, rng)
			y.Close()
		}
	}
	if err := l.seal(); err != nil {
		t.Fatal(err)
	}
	after := x.Stats()
	t.Logf("%d of %d segments left: %d runs, %d bytes; before %d, %d", len(th.left), len(w.h.m), after.Runs, after.Bytes, before.Runs, before.Bytes)
	if after.Runs >= before.Runs || after.Bytes > before.Bytes/2 {
		t.Error("the space did not come back")
	}
	for i, pre := range readers {
		img := w.states[th.kept[i]]
		ps, err := pre.Lookup(t.Context(), 1, redoubt.Extent{Len: diskSectors * 512})
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range ps {
			if c := img[0][q.Extent.Off/512]; c.kind != q.Kind || c.kind == Data && c.crc != q.Ref.CRC {
				t.Fatalf("a reader that was open: %+v is not %+v", q, c)
			}
		}
	}
	merges := x.Stats().Merges
	settle(t, x)
	if n := x.Stats().Merges - merges; n != 0 {
		t.Errorf("%d runs of what is gone were built again", n)
	}
	for _, k := range x.runs.all() { // all are rotten: built again of what is left
		x.drop(k, nil)
	}
	th.checkKept(t, x, rng)
	settle(t, x)
	th.checkKept(t, x, rng)
	x.Close()
	x = open(t, fs, w, o)
	addAll(x, w)
	th.checkKept(t, x, rng)
	settle(t, x)
	th.checkKept(t, x, rng)
}
