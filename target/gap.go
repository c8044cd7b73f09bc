package target

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// openGap notes in the catalog that what the source ships next leaves a gap, if
// what is committed ends before givenUp, the last LSN that the source's journal
// gave up. It reports whether what is committed ends in a gap.
func (s *Store) openGap(ctx context.Context, g *catalog.Group, givenUp redoubt.LSN) (bool, error) {
	_, open := s.catalog.OpenGapOf(g.ID, g.Epoch)
	if open || givenUp <= g.Committed.LSN {
		return open, nil
	}
	_, err := s.node.Propose(ctx, catalog.OpenGap{Group: g.ID, Epoch: g.Epoch, OwnerTerm: g.OwnerTerm, After: g.Committed.LSN,
		Cause: catalog.GapOverflow, Now: s.o.Now().UnixNano()})
	if err != nil {
		return false, err
	}
	s.o.Logger.Warn("the source's journal overflowed: no points until it has caught up", "group", g.ID, "last_point", g.Committed.String(), "given_up", givenUp)
	return true, nil
}

// gapAt returns the gap in which p lies, if it lies in one.
func (s *Store) gapAt(g *catalog.Group, p redoubt.Position) (catalog.Gap, bool) {
	return catalog.GapAt(s.catalog.Gaps(g.ID), g.Written(p))
}

// Gaps returns the stretches without points on the history that leads to the
// current state, the newest first.
func (s *Store) Gaps(id redoubt.GroupID) ([]catalog.Gap, error) {
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	all := s.catalog.Gaps(id)
	var out []catalog.Gap
	for _, st := range g.Lineage.Path(g.Committed) {
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].Epoch == st.Epoch && all[i].After >= st.From && all[i].After <= st.To {
				out = append(out, all[i])
			}
		}
	}
	return out, nil
}
