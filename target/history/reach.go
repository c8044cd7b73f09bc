package history

import (
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Reach says which retained point is the first to show a write: what is
// overwritten by then, no point shows. It is of one moment.
type Reach struct {
	h     *History
	g     *catalog.Group
	r     *catalog.Retention
	trunk []redoubt.Stretch
	end   map[redoubt.Epoch]redoubt.LSN   // of the trunk's part of an epoch
	head  map[redoubt.Epoch]redoubt.LSN   // of all of the epoch
	forks map[redoubt.Epoch][]redoubt.LSN // where branches leave of which there still are points
}

// Reach returns what the points that r leaves of the group show.
func (h *History) Reach(g *catalog.Group, r *catalog.Retention) *Reach {
	x := &Reach{h: h, g: g, r: r, end: map[redoubt.Epoch]redoubt.LSN{}, head: map[redoubt.Epoch]redoubt.LSN{}, forks: map[redoubt.Epoch][]redoubt.LSN{}}
	var branches []redoubt.Stretch
	x.trunk, branches = h.Lines(g)
	for _, st := range x.trunk {
		x.end[st.Epoch] = st.To
	}
	for _, b := range branches {
		x.head[b.Epoch] = b.To
	}
	// Children come behind their parents in a lineage: from the last branch on,
	// so that a branch of a branch keeps the place where it left.
	for i := len(branches) - 1; i >= 0; i-- {
		b := branches[i]
		if _, ok := x.First(b.Epoch, b.From+1, b.To); !ok {
			continue
		}
		at := redoubt.Position{Epoch: b.Epoch, LSN: b.From}
		if f, _ := g.Lineage.Find(b.Epoch); f.At == b.From {
			at.Epoch = f.Parent
		}
		x.forks[at.Epoch] = append(x.forks[at.Epoch], at.LSN)
	}
	return x
}

// First returns the first point, or place where a branch leaves, in [from, to].
func (x *Reach) First(e redoubt.Epoch, from, to redoubt.LSN) (redoubt.LSN, bool) {
	t := x.r.Track(e)
	l := t.Next(from)
	for _, f := range x.forks[e] {
		if f >= from {
			l = min(l, f)
		}
	}
	return l, l <= to
}

// End returns the last LSN of an epoch on the main line; ok is false if it has none
// there.
func (x *Reach) End(e redoubt.Epoch) (end redoubt.LSN, ok bool) {
	end, ok = x.end[e]
	return end, ok
}

// Next returns the first point that shows the write; ok is false if none does.
func (x *Reach) Next(p redoubt.Position) (redoubt.Position, bool) {
	end, on := x.end[p.Epoch]
	if !on || p.LSN > end {
		l, ok := x.First(p.Epoch, p.LSN, x.head[p.Epoch])
		return redoubt.Position{Epoch: p.Epoch, LSN: l}, ok
	}
	for i := len(x.trunk) - 1; i >= 0; i-- { // oldest first
		st := x.trunk[i]
		from := max(p.LSN, st.From+1)
		if st.Epoch < p.Epoch || st.To < from {
			continue
		}
		if l, ok := x.First(st.Epoch, from, st.To); ok {
			return redoubt.Position{Epoch: st.Epoch, LSN: l}, true
		}
	}
	return redoubt.Position{}, false
}

// After returns what was written behind a segment up to a point, newest first.
func (x *Reach) After(e redoubt.Epoch, ordinal uint64, to redoubt.Position) (out []index.Span) {
	add := func(e redoubt.Epoch, from uint64, upto redoubt.LSN) {
		sg, ok := x.h.o.Catalog.FindSegment(x.g.ID, e, upto)
		if !ok || sg.Ordinal < from {
			return
		}
		sp := index.Span{Series: shards.SeriesOf(x.g, e), From: from, Full: sg.Ordinal + 1}
		if sg.Last > upto {
			sp.Full, sp.Partial, sp.Upto = sg.Ordinal, true, upto
		}
		out = append(out, sp)
	}
	if to.Epoch == e {
		add(e, ordinal+1, to.LSN)
		return out
	}
	for _, st := range x.trunk {
		switch {
		case st.Epoch == to.Epoch:
			add(st.Epoch, 0, to.LSN)
		case st.Epoch == e:
			add(e, ordinal+1, st.To)
		case st.Epoch < to.Epoch && st.Epoch > e && st.To > st.From:
			add(st.Epoch, 0, st.To)
		}
	}
	return out
}
