package thin

import (
	"cmp"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// work returns the segments from which the changes may let bytes go: for each
// point that goes, those back to the point before it that stays.
func (o *outlook) work(th *Thinner, changes []catalog.TrackChange) []catalog.Work {
	var out []catalog.Work
	add := func(e redoubt.Epoch, from, to redoubt.LSN) { // LSNs (from, to]
		a, ok1 := th.o.Catalog.FindSegment(o.g.ID, e, from+1)
		b, ok2 := th.o.Catalog.FindSegment(o.g.ID, e, to)
		if ok1 && ok2 && from < to {
			out = append(out, catalog.Work{Epoch: e, From: a.Ordinal, To: b.Ordinal + 1})
		}
	}
	for i := range changes {
		c := &changes[i]
		old := o.r.Track(c.Epoch)
		for _, l := range c.Drop {
			o.stretchBefore(c.Epoch, l, add)
		}
		if c.Horizon > old.Horizon {
			f, _ := o.g.Lineage.Find(c.Epoch)
			low := max(old.Horizon, f.At+1)
			o.stretchBefore(c.Epoch, low, add)
			add(c.Epoch, low-1, c.Horizon-1)
		}
	}
	for _, b := range o.branches {
		// A branch that lost its last point needs the point no more at which it left.
		if slices.ContainsFunc(changes, func(c catalog.TrackChange) bool { return c.Epoch == b.Epoch }) {
			o.stretchBefore(b.Epoch, b.From, add)
		}
	}
	return join(out)
}

// stretchBefore adds what lies between l and the point before it that stays,
// back into the epochs that the line comes from.
func (o *outlook) stretchBefore(e redoubt.Epoch, l redoubt.LSN, add func(e redoubt.Epoch, from, to redoubt.LSN)) {
	for {
		f, ok := o.g.Lineage.Find(e)
		if !ok || l == 0 {
			return
		}
		ks := o.keep[e]
		i, _ := slices.BinarySearchFunc(ks, l, func(k retention.Kept, l redoubt.LSN) int { return cmp.Compare(k.Position.LSN, l) })
		if i > 0 && ks[i-1].Position.LSN > f.At {
			add(e, ks[i-1].Position.LSN, l)
			return
		}
		add(e, f.At, l)
		if f.Parent == 0 {
			return
		}
		e, l = f.Parent, f.At
	}
}

// join sorts stretches, melts those that touch and, if there are too many, the
// ones nearest to each other.
func join(ws []catalog.Work) []catalog.Work {
	slices.SortFunc(ws, func(a, b catalog.Work) int { return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.From, b.From)) })
	for gap := uint64(0); ; gap = 2*gap + 1 {
		var out []catalog.Work
		for _, w := range ws {
			if n := len(out); n > 0 && out[n-1].Epoch == w.Epoch && w.From <= out[n-1].To+gap {
				out[n-1].To = max(out[n-1].To, w.To)
				continue
			}
			out = append(out, w)
		}
		if len(out) <= catalog.MaxWork || gap > 1<<40 {
			return out
		}
	}
}
