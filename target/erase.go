package target

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// erasing reports whether this node has shards to delete because an operator
// wanted the points of a group deleted.
func (s *Store) erasing() bool {
	return slices.ContainsFunc(s.catalog.Groups(), func(g catalog.Group) bool {
		return slices.Contains(s.catalog.Standing(g.ID).Left, s.o.ID)
	})
}

// reportErased tells the catalog of the groups of whose deleted history this
// node holds nothing any more.
func (s *Store) reportErased(ctx context.Context) error {
	for _, g := range s.catalog.Groups() {
		st := s.catalog.Standing(g.ID)
		if !slices.Contains(st.Left, s.o.ID) || s.holdsBelow(&g, st.Erased) {
			continue
		}
		if _, err := s.node.Propose(ctx, catalog.EraseDone{Group: g.ID, UUID: g.UUID, Erased: st.Erased, Node: s.o.ID}); err != nil {
			return err
		}
		s.o.Logger.Info("deleted the points of a group", "group", g.ID, "below_epoch", st.Erased)
	}
	return nil
}

// holdsBelow reports whether the log has shards of the group's epochs below e.
func (s *Store) holdsBelow(g *catalog.Group, e redoubt.Epoch) (found bool) {
	s.log.Each(func(i segment.Info) bool {
		found = i.ID.Group == g.ID && i.ID.UUID == g.UUID && i.ID.Epoch < e
		return !found
	})
	return found
}
