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
