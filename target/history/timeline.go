package history

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sort"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/retention"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Timeline is the retained points of one line of history, as retention asks
// for them: below the horizons from the catalog, above from the segments, of
// which it reads the head of the one in which the answer lies.
type Timeline struct {
	ctx  context.Context
	h    *History
	g    *catalog.Group
	r    *catalog.Retention
	line []redoubt.Stretch // newest first
}

var _ retention.Path = (*Timeline)(nil)

// Timeline returns the points of the line, whose stretches go back in time, as
// far as r leaves them. It is for one goroutine, while ctx goes on.
func (h *History) Timeline(ctx context.Context, g *catalog.Group, r *catalog.Retention, line []redoubt.Stretch) *Timeline {
	return &Timeline{ctx: ctx, h: h, g: g, r: r, line: line}
}

// Before returns the last point whose time is less than t.
func (l *Timeline) Before(t int64) (retention.Point, bool, error) {
	for _, st := range l.line {
		if st.To == st.From {
			continue
		}
		p, ok, err := l.within(st, t)
		if ok || err != nil {
			return p, ok, err
		}
	}
	return retention.Point{}, false, nil
}

// within is Before for the points with From < LSN <= To.
func (l *Timeline) within(st redoubt.Stretch, t int64) (none retention.Point, ok bool, err error) {
	track := l.r.Track(st.Epoch)
	low := max(st.From+1, l.g.Baseline)
	if from := max(low, track.Horizon); from <= st.To {
		p, ok, err := l.lastPoint(st.Epoch, from, st.To, t)
		if ok || err != nil {
			return p, ok, err
		}
	}
	ps := track.Points
	i := sort.Search(len(ps), func(i int) bool { return ps[i].Time >= t || ps[i].LSN > st.To })
	if i == 0 || ps[i-1].LSN < low {
		return none, false, nil
	}
	return retention.Point{Position: redoubt.Position{Epoch: st.Epoch, LSN: ps[i-1].LSN}, Time: ps[i-1].Time}, true, nil
}

// lastPoint returns the last write of the epoch in [from, to] whose time is less
// than t and which is a point: one that no gap hides.
func (l *Timeline) lastPoint(e redoubt.Epoch, from, to redoubt.LSN, t int64) (none retention.Point, ok bool, err error) {
	gaps := l.h.o.Catalog.Gaps(l.g.ID)
	for to >= from {
		lsn, at, ok, err := l.h.LastWrite(l.ctx, l.g, e, to, t-1)
		if err != nil || !ok || lsn < from {
			return none, false, err
		}
		p := redoubt.Position{Epoch: e, LSN: lsn}
		gap, in := catalog.GapAt(gaps, p)
		if !in {
			return retention.Point{Position: p, Time: at}, true, nil
		}
		to = gap.After
	}
	return none, false, nil
}

// LastWrite returns the last LSN of the epoch, up to limit, whose time is not
// later than ns, and that time. An LSN without an entry changed nothing; it goes
// with the one before it. It reads a head at most.
func (h *History) LastWrite(ctx context.Context, g *catalog.Group, e redoubt.Epoch, limit redoubt.LSN, ns int64) (lsn redoubt.LSN, at int64, ok bool, err error) {
	sg, ok := h.o.Catalog.FindTime(g.ID, e, ns)
	if ok && sg.First > limit {
		sg, ok = h.o.Catalog.FindSegment(g.ID, e, limit)
	}
	if !ok {
		return 0, 0, false, nil
	}
	if sg.LastTime <= ns && sg.Last <= limit {
		return sg.Last, sg.LastTime, true, nil
	}
	lsn, at = sg.First, sg.FirstTime
	if sg.Gone() {
		return lsn, at, true, nil
	}
	d, err := h.o.Shards.Head(ctx, shards.SeriesOf(g, e), &sg)
	if err != nil {
		return 0, 0, false, err
	}
	for i := range d.Entries {
		n := &d.Entries[i]
		t := min(max(n.Time, sg.FirstTime), sg.LastTime)
		if t > ns || n.LSN > limit {
			return max(min(n.LSN-1, limit), sg.First), at, true, nil
		}
		lsn, at = n.LSN, t
	}
	if sg.Last > limit {
		lsn = limit
	}
	return lsn, at, true, nil
}

// Lines returns the main line of a group's history, and the branches that
// failovers left behind: what lies beyond the point from which it went on.
func (h *History) Lines(g *catalog.Group) (trunk []redoubt.Stretch, branches []redoubt.Stretch) {
	trunk = g.Lineage.Path(g.Committed)
	end := map[redoubt.Epoch]redoubt.LSN{}
	for _, st := range trunk {
		end[st.Epoch] = st.To
	}
	for _, f := range g.Lineage {
		from, on := end[f.Epoch]
		if !on {
			from = f.At
		}
		if head, ok := h.o.Catalog.Head(g.ID, f.Epoch); ok && head > from {
			branches = append(branches, redoubt.Stretch{Epoch: f.Epoch, From: from, To: head})
		}
	}
	return trunk, branches
}

// TimeOf returns the time of a point as retention, which is in state r, counts it.
func (h *History) TimeOf(ctx context.Context, g *catalog.Group, r *catalog.Retention, p redoubt.Position) (int64, error) {
	ps := r.Track(p.Epoch).Points
	if i, ok := slices.BinarySearchFunc(ps, p.LSN, func(k catalog.Kept, l redoubt.LSN) int { return cmp.Compare(k.LSN, l) }); ok {
		return ps[i].Time, nil
	}
	_, at, _, err := h.LastWrite(ctx, g, p.Epoch, p.LSN, math.MaxInt64)
	return at, err
}
