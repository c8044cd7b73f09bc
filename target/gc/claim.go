package gc

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// Claim says whether the catalog names a shard that is in the log.
type Claim uint8

const (
	Claimed   Claim = iota // by its manifest, here
	Unclaimed              // not at present, but it may be: on its way to a commit or to a new home, or the catalog is behind
	Forfeit                // and it never will be
)

// claimOf judges a stored shard by this node's copy of the catalog, which may be
// behind: what it says is true from then on, what it does not say proves nothing. g is
// the group of that name, nil if there is none; sg is the segment at that ordinal,
// nil if there is none, of count in the epoch; planned says that a retention plan
// may replace that segment.
func claimOf(id segment.ID, self redoubt.NodeID, g *catalog.Group, sg *catalog.Segment, count uint64, planned bool) Claim {
	switch {
	case g == nil || g.UUID != id.UUID:
		return Unclaimed
	case sg != nil && sg.Gone():
		return Forfeit // retention has left nothing of it
	case sg != nil && sg.CRC != id.CRC && planned:
		return Unclaimed // it may be what is left of the segment
	case sg != nil && sg.CRC != id.CRC:
		return Forfeit // another delta is committed there
	case sg != nil && int(id.Shard) < len(sg.Nodes) && sg.Nodes[id.Shard] == self:
		return Claimed
	case sg == nil && id.Epoch < g.Epoch && id.Ordinal >= count:
		return Forfeit // an epoch that is over gets no further segment
	}
	return Unclaimed
}

// ClaimOf judges a shard that is in the log of node self by that node's catalog.
func ClaimOf(c *catalog.Catalog, self redoubt.NodeID, id segment.ID) Claim {
	g, ok := c.Group(id.Group)
	if !ok {
		return claimOf(id, self, nil, nil, 0, false)
	}
	var sg *catalog.Segment
	if g.UUID == id.UUID {
		if found := c.Segments(id.Group, id.Epoch, id.Ordinal, 1); len(found) == 1 {
			sg = &found[0]
		}
	}
	return claimOf(id, self, &g, sg, c.SegmentCount(id.Group, id.Epoch), planned(c, id))
}

// Dead reports whether no one will ever ask for the shard: its place in the
// history is taken by another delta, or nothing is left of it, and no plan is
// about to put it there; or its group has given its name to another one. Of the
// last a catalog that is behind the shard knows nothing: see discard.
func Dead(c *catalog.Catalog, id segment.ID) bool {
	g, ok := c.Group(id.Group)
	if !ok {
		return false
	}
	if g.UUID != id.UUID {
		return true
	}
	if id.Epoch < c.Standing(id.Group).Erased {
		return true
	}
	sgs := c.Segments(id.Group, id.Epoch, id.Ordinal, 1)
	if len(sgs) == 0 || sgs[0].CRC == id.CRC && !sgs[0].Gone() {
		return false
	}
	return sgs[0].Gone() || !planned(c, id)
}

// planned reports whether the plan under way may replace the shard's segment:
// then the shard may be of what is left, on its way to a commit.
func planned(c *catalog.Catalog, id segment.ID) bool {
	p := c.Retention(id.Group).Plan
	return p != nil && slices.ContainsFunc(p.Work, func(w catalog.Work) bool {
		return w.Epoch == id.Epoch && id.Ordinal >= w.From && id.Ordinal < w.To
	})
}
