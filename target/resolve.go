package target

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// PointSpec says which recovery point is meant: the latest, if no field but
// Before is set.
type PointSpec struct {
	Time     time.Time        // the state after the last write that is not later
	LSN      redoubt.LSN      // on the history that leads to the current state
	Position redoubt.Position // on any branch
	Bookmark string           // the newest of that name
	App      bool             // the newest application-consistent one
	// Before, if set, takes the history that leads to it in place of that which
	// leads to the current state: for choosing again after a failover.
	Before redoubt.Position
}

// ParsePoint reads "latest", "latest-app", a position EPOCH:LSN, an LSN, or a time in RFC 3339.
func ParsePoint(t string) (PointSpec, error) {
	t = strings.TrimSpace(t)
	switch t {
	case "", "latest":
		return PointSpec{}, nil
	case "latest-app":
		return PointSpec{App: true}, nil
	}
	if p, err := redoubt.ParsePosition(t); err == nil {
		return PointSpec{Position: p}, nil
	}
	if l, err := redoubt.ParseLSN(t); err == nil {
		return PointSpec{LSN: l}, nil
	}
	if w, err := time.Parse(time.RFC3339Nano, t); err == nil {
		return PointSpec{Time: w}, nil
	}
	return PointSpec{}, &redoubt.Error{Op: "parse point", Object: t, Err: redoubt.ErrInvalid,
		Hint: "a point is latest, a time such as 2026-01-02T15:04:05Z, an LSN such as 4711, or a position such as 1:4711"}
}

// String returns the form that ParsePoint reads; a bookmark is named as such.
func (p PointSpec) String() string {
	switch {
	case !p.Position.IsZero():
		return p.Position.String()
	case p.LSN != 0:
		return p.LSN.String()
	case p.Bookmark != "":
		return "bookmark " + p.Bookmark
	case p.App:
		return "latest-app"
	case !p.Time.IsZero():
		return p.Time.UTC().Format(time.RFC3339Nano)
	}
	return "latest"
}

// Resolve finds the position that spec means and the time of its write. It
// answers for everything committed before the call; without a majority of the
// nodes only positions that this node knows already.
func (s *Store) Resolve(ctx context.Context, id redoubt.GroupID, spec PointSpec) (redoubt.Position, time.Time, error) {
	none := func(err error) (redoubt.Position, time.Time, error) { return redoubt.Position{}, time.Time{}, err }
	if err := s.node.Barrier(ctx); err != nil && spec.Position.IsZero() && spec.LSN == 0 {
		return none(err)
	}
	g, err := s.group(id)
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
		p, err = s.positionOfLSN(&g, base, spec.LSN)
	case spec.Bookmark != "":
		p, err = s.positionOfBookmark(&g, base, spec.Bookmark)
	case spec.App:
		p, err = s.positionOfApp(&g, base)
	case !spec.Time.IsZero():
		p, err = s.positionOfTime(ctx, &g, base, spec.Time)
	default:
		if _, in := s.gapAt(&g, base); in {
			base = catalog.Visible(s.catalog.Gaps(g.ID), g.Lineage.Path(base))
		}
		p, err = s.newest(ctx, &g, base)
	}
	if err != nil {
		return none(err)
	}
	if err := s.checkPosition(&g, p); err != nil {
		return none(err)
	}
	t, err := s.timeOf(ctx, &g, p)
	if err != nil {
		return none(err)
	}
	return p, t, nil
}

func noPoint(g *catalog.Group, what string, cause error, hint string) error {
	return &redoubt.Error{Op: "find point " + what + " of group", Object: string(g.ID), Err: cause, Hint: hint}
}

// checkPosition refuses what is no recovery point.
func (s *Store) checkPosition(g *catalog.Group, p redoubt.Position) error {
	head, ok := s.catalog.Head(g.ID, p.Epoch)
	switch {
	case !ok:
		return noPoint(g, p.String(), fmt.Errorf("no epoch %d: %w", p.Epoch, redoubt.ErrNotFound), fmt.Sprintf("the current epoch is %d", g.Epoch))
	case p.LSN > head:
		return noPoint(g, p.String(), fmt.Errorf("nothing is committed after %d:%d: %w", p.Epoch, head, redoubt.ErrNotFound), "")
	case g.Lineage.Path(p) == nil:
		f, _ := g.Lineage.Find(p.Epoch)
		return noPoint(g, p.String(), fmt.Errorf("epoch %d begins after LSN %d: %w", p.Epoch, f.At, redoubt.ErrNotFound), fmt.Sprintf("it may be %d:%d", f.Parent, p.LSN))
	case g.Baseline == 0:
		return noPoint(g, p.String(), fmt.Errorf("the first copy is not complete: %w", redoubt.ErrState), "there is no recovery point yet")
	case !s.retained(g, p):
		return noPoint(g, p.String(), fmt.Errorf("it is not retained: %w", redoubt.ErrNotFound), s.nearest(g, p))
	case p.LSN < g.Baseline:
		return noPoint(g, p.String(), fmt.Errorf("the first point is at LSN %d: %w", g.Baseline, redoubt.ErrNotFound), "the first copy was not complete before")
	}
	if gap, in := s.gapAt(g, p); in {
		return noPoint(g, p.String(), fmt.Errorf("it lies in a gap (%s): %w", gap.Cause, redoubt.ErrNotFound), gap.Hint())
	}
	return nil
}

// newest returns base if it is a point, or else the last one before it: while a
// group that was protected again is copied, there is none after that.
func (s *Store) newest(ctx context.Context, g *catalog.Group, base redoubt.Position) (redoubt.Position, error) {
	if s.retained(g, base) {
		return base, nil
	}
	r := s.catalog.Retention(g.ID)
	p, ok, err := (&timeline{ctx: ctx, s: s, g: g, r: &r, line: g.Lineage.Path(base)}).Before(math.MaxInt64)
	if err == nil && !ok {
		err = noPoint(g, "latest", redoubt.ErrNotFound, "redoubt points shows the timeline")
	}
	return p.Position, err
}

// positionOfLSN finds the epoch that wrote lsn on the history that leads to base.
func (s *Store) positionOfLSN(g *catalog.Group, base redoubt.Position, lsn redoubt.LSN) (redoubt.Position, error) {
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
func (s *Store) positionOfTime(ctx context.Context, g *catalog.Group, base redoubt.Position, t time.Time) (redoubt.Position, error) {
	what := t.UTC().Format(time.RFC3339Nano)
	if now := s.o.Now(); t.After(now) {
		return redoubt.Position{}, noPoint(g, what, fmt.Errorf("it is in the future: %w", redoubt.ErrInvalid), "now it is "+now.UTC().Format(time.RFC3339))
	}
	r := s.catalog.Retention(g.ID)
	p, ok, err := (&timeline{ctx: ctx, s: s, g: g, r: &r, line: g.Lineage.Path(base)}).Before(t.UnixNano() + 1)
	if err != nil || ok {
		return p.Position, err
	}
	return redoubt.Position{}, noPoint(g, what, fmt.Errorf("it lies before the first write that is kept: %w", redoubt.ErrNotFound), "redoubt points shows the timeline")
}

// timeOf returns the time of the write at p.
func (s *Store) timeOf(ctx context.Context, g *catalog.Group, p redoubt.Position) (time.Time, error) {
	for _, st := range g.Lineage.Path(p) {
		if st.To == st.From {
			continue
		}
		sg, ok := s.catalog.FindSegment(g.ID, st.Epoch, st.To)
		if !ok {
			break
		}
		if sg.Last == st.To {
			return time.Unix(0, sg.LastTime), nil
		}
		r := s.catalog.Retention(g.ID)
		at, err := (&outlook{g: *g, r: r}).timeOf(ctx, s, redoubt.Position{Epoch: st.Epoch, LSN: st.To})
		return time.Unix(0, at), err
	}
	return time.Unix(0, g.CreatedAt), nil
}
