package target

import (
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// claim says whether the catalog names a shard that is in the log.
type claim uint8

const (
	claimed   claim = iota // by its manifest, here
	unclaimed              // not at present, but it may be: on its way to a commit or to a new home, or the catalog is behind
	forfeit                // and it never will be
)

// claimOf judges a stored shard by this node's copy of the catalog, which may be
// behind: what it says is true from then on, what it does not say proves nothing. g is
// the group of that name, nil if there is none; sg is the segment at that ordinal,
// nil if there is none, of count in the epoch; planned says that a retention plan
// may replace that segment.
func claimOf(id segment.ID, self redoubt.NodeID, g *catalog.Group, sg *catalog.Segment, count uint64, planned bool) claim {
	switch {
	case g == nil || g.UUID != id.UUID:
		return unclaimed
	case sg != nil && sg.Gone():
		return forfeit // retention has left nothing of it
	case sg != nil && sg.CRC != id.CRC && planned:
		return unclaimed // it may be what is left of the segment
	case sg != nil && sg.CRC != id.CRC:
		return forfeit // another delta is committed there
	case sg != nil && int(id.Shard) < len(sg.Nodes) && sg.Nodes[id.Shard] == self:
		return claimed
	case sg == nil && id.Epoch < g.Epoch && id.Ordinal >= count:
		return forfeit // an epoch that is over gets no further segment
	}
	return unclaimed
}

func (s *Store) claim(id segment.ID) claim {
	g, ok := s.catalog.Group(id.Group)
	if !ok {
		return claimOf(id, s.o.ID, nil, nil, 0, false)
	}
	var sg *catalog.Segment
	if g.UUID == id.UUID {
		if found, err := s.shards.Segment(index.Series{Group: id.Group, UUID: id.UUID, Epoch: id.Epoch}, id.Ordinal); err == nil {
			sg = &found
		}
	}
	return claimOf(id, s.o.ID, &g, sg, s.catalog.SegmentCount(id.Group, id.Epoch), s.planned(id))
}
