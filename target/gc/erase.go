package gc

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// erasing reports whether this node has shards to delete because an operator
// wanted the points of a group deleted.
func (c *Collector) erasing() bool {
	return slices.ContainsFunc(c.o.Catalog.Groups(), func(g catalog.Group) bool {
		return slices.Contains(c.o.Catalog.Standing(g.ID).Left, c.o.Self)
	})
}

// reportErased tells the catalog of the groups of whose deleted history this
// node holds nothing any more.
func (c *Collector) reportErased(ctx context.Context) error {
	for _, g := range c.o.Catalog.Groups() {
		st := c.o.Catalog.Standing(g.ID)
		if !slices.Contains(st.Left, c.o.Self) {
			continue
		}
		if has, err := c.holdsBelow(&g, st.Erased); err != nil {
			return err
		} else if has {
			continue
		}
		if _, err := c.o.Cluster.Propose(ctx, catalog.EraseDone{Group: g.ID, UUID: g.UUID, Erased: st.Erased, Node: c.o.Self}); err != nil {
			return err
		}
		c.o.Logger.Info("deleted the points of a group", "group", g.ID, "below_epoch", st.Erased)
	}
	return nil
}

// holdsBelow reports whether the log has shards of the group's epochs below e.
func (c *Collector) holdsBelow(g *catalog.Group, e redoubt.Epoch) (found bool, err error) {
	err = c.o.Log.Each(func(i segment.Info) bool {
		found = i.ID.Group == g.ID && i.ID.UUID == g.UUID && i.ID.Epoch < e
		return !found
	})
	return found, err
}
