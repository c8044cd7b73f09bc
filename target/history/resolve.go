package history

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Resolve finds the position that spec means and the time of its write. It
// answers for everything committed before the call; without a majority of the
// nodes only positions that this node knows already.
func (h *History) Resolve(ctx context.Context, id redoubt.GroupID, spec PointSpec) (redoubt.Position, time.Time, error) {
	none := func(err error) (redoubt.Position, time.Time, error) { return redoubt.Position{}, time.Time{}, err }
	if err := h.o.Cluster.Barrier(ctx); err != nil && spec.Position.IsZero() && spec.LSN == 0 {
		return none(err)
	}
	g, err := h.Group(id)
	if err != nil {
		return none(err)
	}
	base := g.Committed
	if !spec.Before.IsZero() {
		base = spec.Before
	}
	var p redoubt.Position
	switch {
	case !spec.Position.IsZero():
		p = spec.Position
	case spec.LSN != 0:
		p, err = h.positionOfLSN(&g, base, spec.LSN)
	case spec.Bookmark != "":
		p, err = h.positionOfBookmark(&g, base, spec.Bookmark)
	case spec.App:
		p, err = h.positionOfApp(&g, base)
	case !spec.Time.IsZero():
		p, err = h.positionOfTime(ctx, &g, base, spec.Time)
	default:
		if _, in := h.gapAt(&g, base); in {
			base = catalog.Visible(h.o.Catalog.Gaps(g.ID), g.Lineage.Path(base))
		}
		p, err = h.newest(ctx, &g, base)
	}
	if err != nil {
		return none(err)
	}
	if err := h.Check(&g, p); err != nil {
		return none(err)
	}
	t, err := h.timeAt(ctx, &g, p)
	if err != nil {
		return none(err)
	}
	return p, t, nil
}

// newest returns base if it is a point, or else the last one before it: while a
// group that was protected again is copied, there is none after that.
func (h *History) newest(ctx context.Context, g *catalog.Group, base redoubt.Position) (redoubt.Position, error) {
	if h.retained(g, base) {
		return base, nil
	}
	r := h.o.Catalog.Retention(g.ID)
	p, ok, err := h.Timeline(ctx, g, &r, g.Lineage.Path(base)).Before(math.MaxInt64)
	if err == nil && !ok {
		err = noPoint(g, "latest", redoubt.ErrNotFound, "redoubt points shows the timeline")
	}
	return p.Position, err
}

// positionOfLSN finds the epoch that wrote lsn on the history that leads to base.
func (h *History) positionOfLSN(g *catalog.Group, base redoubt.Position, lsn redoubt.LSN) (redoubt.Position, error) {
	if lsn > base.LSN {
		return redoubt.Position{}, noPoint(g, lsn.String(), fmt.Errorf("nothing is committed after %s: %w", base, redoubt.ErrNotFound), "")
	}
	for _, st := range g.Lineage.Path(base) {
		if lsn > st.From && lsn <= st.To {
			return redoubt.Position{Epoch: st.Epoch, LSN: lsn}, nil
		}
	}
	return redoubt.Position{}, noPoint(g, lsn.String(), redoubt.ErrNotFound, "")
}

// positionOfTime finds the last write that is not later than t on the history
// that leads to base.
func (h *History) positionOfTime(ctx context.Context, g *catalog.Group, base redoubt.Position, t time.Time) (redoubt.Position, error) {
	what := t.UTC().Format(time.RFC3339Nano)
	if now := h.o.Now(); t.After(now) {
		return redoubt.Position{}, noPoint(g, what, fmt.Errorf("it is in the future: %w", redoubt.ErrInvalid), "now it is "+now.UTC().Format(time.RFC3339))
	}
	r := h.o.Catalog.Retention(g.ID)
	p, ok, err := h.Timeline(ctx, g, &r, g.Lineage.Path(base)).Before(t.UnixNano() + 1)
	if err != nil || ok {
		return p.Position, err
	}
	return redoubt.Position{}, noPoint(g, what, fmt.Errorf("it lies before the first write that is kept: %w", redoubt.ErrNotFound), "redoubt points shows the timeline")
}

// timeAt returns the time of the write at p.
func (h *History) timeAt(ctx context.Context, g *catalog.Group, p redoubt.Position) (time.Time, error) {
	for _, st := range g.Lineage.Path(p) {
		if st.To == st.From {
			continue
		}
		sg, ok := h.o.Catalog.FindSegment(g.ID, st.Epoch, st.To)
		if !ok {
			break
		}
		if sg.Last == st.To {
			return time.Unix(0, sg.LastTime), nil
		}
		r := h.o.Catalog.Retention(g.ID)
		at, err := h.TimeOf(ctx, g, &r, redoubt.Position{Epoch: st.Epoch, LSN: st.To})
		return time.Unix(0, at), err
	}
	return time.Unix(0, g.CreatedAt), nil
}
