package target

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
)

// positionOfBookmark finds the newest bookmark of that name on the history that
// leads to base: above the horizons from the heads, from the newest on, below
// them from the catalog.
func (s *Store) positionOfBookmark(ctx context.Context, g *cluster.Group, base redoubt.Position, name string) (redoubt.Position, error) {
	r := s.catalog.Retention(g.ID)
	for _, st := range g.Lineage.Path(base) {
		p, ok, err := s.bookmarkIn(ctx, g, &r, st, name)
		if ok || err != nil {
			return p, err
		}
	}
	return redoubt.Position{}, noPoint(g, "bookmark "+name, redoubt.ErrNotFound, "")
}

// bookmarkIn finds the newest bookmark of that name in the stretch.
func (s *Store) bookmarkIn(ctx context.Context, g *cluster.Group, r *cluster.Retention, st redoubt.Stretch, name string) (none redoubt.Position, ok bool, err error) {
	horizon, gaps := r.Track(st.Epoch).Horizon, s.catalog.Gaps(g.ID)
	sg, ok := s.catalog.FindSegment(g.ID, st.Epoch, st.To)
	for ok && sg.Last > st.From && sg.Last >= horizon {
		if err := ctx.Err(); err != nil {
			return none, false, err
		}
		marks, err := s.marksOf(ctx, seriesOf(g, st.Epoch), &sg)
		if err != nil {
			return none, false, err
		}
		for i := len(marks) - 1; i >= 0; i-- {
			p := marks[i].Position
			if _, in := cluster.GapAt(gaps, p); marks[i].Name == name && p.LSN <= st.To && p.LSN >= horizon && !in {
				return p, true, nil
			}
		}
		if ok = sg.Ordinal > 0; ok {
			prev := s.catalog.Segments(g.ID, st.Epoch, sg.Ordinal-1, 1)
			if ok = len(prev) == 1; ok {
				sg = prev[0]
			}
		}
	}
	for i := len(r.Marks) - 1; i >= 0; i-- {
		if m := r.Marks[i]; m.Name == name && m.Position.Epoch == st.Epoch && m.Position.LSN > st.From && m.Position.LSN <= st.To {
			return m.Position, true, nil
		}
	}
	return none, false, nil
}
