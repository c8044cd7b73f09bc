package history

import (
	"context"
	"math/bits"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// Point is the end of a segment; every LSN from First on is a recovery point
// too. Below the horizon of retention First is the position itself.
type Point struct {
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"`  // of the last write, Unix nanoseconds
	First    redoubt.LSN      `json:"first"` // first LSN of the segment, or the baseline within it
	Since    int64            `json:"since"` // time of the segment's first write, Unix nanoseconds
	Bytes    uint32           `json:"bytes"` // of the stored delta
	Degraded bool             `json:"degraded,omitempty"`
	Tier     string           `json:"tier"`               // for which it is kept at present
	Bookmark string           `json:"bookmark,omitempty"` // the newest in it
	App      bool             `json:"app,omitempty"`      // that is application-consistent
	Check    *catalog.Check   `json:"check,omitempty"`    // the newest in it
	Disks    []redoubt.Disk   `json:"disks,omitempty"`    // at the position, if they are not the group's of now
}

// Points lists the recovery points on the history that leads to the current
// state, newest first, at most limit of them.
func (h *History) Points(ctx context.Context, id redoubt.GroupID, limit int) ([]Point, error) {
	if err := h.o.Cluster.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := h.Group(id)
	if err != nil {
		return nil, err
	}
	if g.Baseline == 0 {
		return nil, nil
	}
	l := &listing{h: h, g: &g, r: h.o.Catalog.Retention(id), gaps: h.o.Catalog.Gaps(id), now: h.Clock(&g), limit: limit, checks: h.o.Catalog.Checks(id), changed: len(h.o.Catalog.DiskEvents(id)) > 0}
	for _, st := range g.Lineage.Path(g.Committed) {
		if st.To > st.From {
			if err := l.stretch(ctx, st); err != nil {
				return nil, err
			}
		}
	}
	return l.out, nil
}

// listing collects points, newest first.
type listing struct {
	h     *History
	g     *catalog.Group
	r     catalog.Retention
	gaps  []catalog.Gap
	now   int64
	limit int
	out   []Point

	checks  []catalog.Check
	changed bool // disks have joined or left, or have grown
}

// stretch adds the points of one epoch: segments above the horizon, single
// points below it.
func (l *listing) stretch(ctx context.Context, st redoubt.Stretch) error {
	track := l.r.Track(st.Epoch)
	low := max(l.g.Baseline, track.Horizon, st.From+1)
	sg, ok := l.h.o.Catalog.FindSegment(l.g.ID, st.Epoch, st.To)
	for ok && sg.Last >= low && sg.First <= st.To && low <= st.To && len(l.out) < l.limit {
		gap, in := catalog.GapAt(l.gaps, redoubt.Position{Epoch: st.Epoch, LSN: min(sg.Last, st.To)})
		if in {
			sg, ok = l.h.o.Catalog.FindSegment(l.g.ID, st.Epoch, gap.After)
			continue
		}
		p := l.point(&sg, redoubt.Position{Epoch: st.Epoch, LSN: min(sg.Last, st.To)}, sg.LastTime)
		p.First, p.Since = max(sg.First, low), sg.FirstTime
		if gap, in := catalog.GapAt(l.gaps, redoubt.Position{Epoch: st.Epoch, LSN: p.First}); in {
			p.First = gap.Whole // the segment that completed it
		}
		if sg.Last > st.To { // the epoch was left in the middle of this segment
			at, err := l.h.timeAt(ctx, l.g, p.Position)
			if err != nil {
				return err
			}
			p.Time = at.UnixNano()
		}
		l.name(&p)
		l.out = append(l.out, p)
		if ok = sg.Ordinal > 0; ok {
			prev := l.h.o.Catalog.Segments(l.g.ID, st.Epoch, sg.Ordinal-1, 1)
			if ok = len(prev) == 1; ok {
				sg = prev[0]
			}
		}
	}
	for i := len(track.Points) - 1; i >= 0 && len(l.out) < l.limit; i-- {
		k := track.Points[i]
		if k.LSN > st.To || k.LSN <= st.From {
			continue
		}
		sg, ok := l.h.o.Catalog.FindSegment(l.g.ID, st.Epoch, k.LSN)
		if ok {
			p := l.point(&sg, redoubt.Position{Epoch: st.Epoch, LSN: k.LSN}, k.Time)
			l.name(&p)
			l.out = append(l.out, p)
		}
	}
	return nil
}

func (l *listing) point(sg *catalog.Segment, at redoubt.Position, t int64) Point {
	p := Point{Position: at, Time: t, First: at.LSN, Since: t, Bytes: sg.Size, Degraded: bits.OnesCount64(sg.Stored) < int(sg.K)+int(sg.M),
		Tier: retention.Names(l.r.Policy)[retention.TierOf(l.r.Policy, t, l.now)+1]}
	for _, pin := range l.r.Pins {
		if pin.Position == at {
			p.Tier = pin.Kind.String() + " " + pin.Name
		}
	}
	return p
}

// sameSet reports whether the lists are of the same disks, whatever their sizes.
func sameSet(a, b []redoubt.Disk) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(d redoubt.Disk) bool {
		return !slices.ContainsFunc(b, func(k redoubt.Disk) bool { return k.ID == d.ID })
	})
}

// name puts the newest bookmark and recovery check of the point's stretch to it,
// and its disks.
func (l *listing) name(p *Point) {
	st := redoubt.Stretch{Epoch: p.Position.Epoch, From: p.First - 1, To: p.Position.LSN}
	for _, b := range l.h.o.Catalog.Bookmarks(l.g.ID, st, 1, nil) {
		p.Bookmark, p.App = b.Name, b.App
	}
	for i := range l.checks {
		if at := l.g.Written(l.checks[i].Position); at.Epoch == st.Epoch && at.LSN > st.From && at.LSN <= st.To {
			p.Check = &l.checks[i]
		}
	}
	if l.changed {
		if there := l.h.o.Catalog.DisksAt(l.g.ID, p.Position); !sameSet(there, l.g.Disks) {
			p.Disks = there
		}
	}
}
