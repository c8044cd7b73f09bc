package index

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Range is a stretch of a series: the ordinals [First, Last], of which only
// the entries with From < LSN <= To count.
type Range struct {
	Series
	First, Last uint64
	From, To    redoubt.LSN
	// Whole says that every entry of the first and of the last ordinal counts.
	WholeFirst, WholeLast bool
}

// Extents returns what was written in the range, per disk, sorted and merged.
func (x *Index) Extents(ctx context.Context, r Range) (map[redoubt.DiskID][]redoubt.Extent, error) {
	out := map[redoubt.DiskID][]redoubt.Extent{}
	add := func(f *flat) {
		es := out[f.disk]
		if n := len(es); n > 0 && es[n-1].End() == f.off {
			es[n-1].Len += f.len
			return
		}
		out[f.disk] = append(es, redoubt.Extent{Off: f.off, Len: f.len})
	}
	lo, hi := r.First, r.Last+1
	edge := func(ordinal uint64) error {
		es, err := x.o.Heads.Entries(ctx, r.Series, ordinal)
		if err != nil {
			return err
		}
		for _, f := range flatten(es, ordinal, r.From, r.To) {
			add(&f)
		}
		return nil
	}
	if !r.WholeFirst || r.First == r.Last && !r.WholeLast {
		if err := edge(r.First); err != nil {
			return nil, err
		}
		lo++
	}
	if !r.WholeLast && r.Last > r.First {
		if err := edge(r.Last); err != nil {
			return nil, err
		}
		hi--
	}
	for lo < hi {
		x.mu.Lock()
		parts := x.cover(r.Series, lo, hi)
		x.mu.Unlock()
		if len(parts) == 0 {
			break
		}
		pt := parts[0]
		var s stream
		next := pt.ordinal + 1
		if pt.stored.there() {
			s, next = x.streamOf(pt.stored), pt.stored.start+pt.stored.count
		} else {
			fs, err := x.head(ctx, r.Series, pt.ordinal)
			if err != nil {
				return nil, err
			}
			s = sliceStream(fs)
		}
		// A rotten run may have added entries before it was noticed; they were
		// whole blocks and are added again from its parts, which changes nothing.
		f, ok, err := s()
		for ; ok && err == nil; f, ok, err = s() {
			add(&f)
		}
		if pt.stored.there() && errors.Is(err, redoubt.ErrCorrupt) {
			x.drop(pt.stored, err)
			continue
		}
		if errors.Is(err, errMoved) {
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		lo = next
	}
	for d := range out {
		out[d] = union(out[d])
	}
	return out, nil
}

// union sorts es and melts what touches.
func union(es []redoubt.Extent) []redoubt.Extent {
	slices.SortFunc(es, func(a, b redoubt.Extent) int { return cmp.Compare(a.Off, b.Off) })
	out := es[:0]
	for _, e := range es {
		if n := len(out); n > 0 && e.Off <= out[n-1].End() {
			out[n-1].Len = max(out[n-1].End(), e.End()) - out[n-1].Off
			continue
		}
		out = append(out, e)
	}
	return out
}
