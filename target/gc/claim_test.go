package gc

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// Only what the catalog can never name may be deleted.
func TestClaims(t *testing.T) {
	id := segment.ID{Group: "shop", UUID: "u", Epoch: 3, Ordinal: 5, Shard: 1, CRC: 7}
	g := &catalog.Group{ID: "shop", UUID: "u", Epoch: 3}
	later := &catalog.Group{ID: "shop", UUID: "u", Epoch: 4}
	sg := func(crc uint32, nodes ...redoubt.NodeID) *catalog.Segment {
		return &catalog.Segment{Epoch: 3, Ordinal: 5, CRC: crc, Size: 10, Nodes: nodes}
	}
	for _, c := range []struct {
		what  string
		g     *catalog.Group
		sg    *catalog.Segment
		count uint64
		want  Claim
	}{
		{"its segment", g, sg(7, "a", "me"), 9, Claimed},
		{"the catalog knows no such group, yet", nil, nil, 0, Unclaimed},
		{"a group of the same name", &catalog.Group{ID: "shop", UUID: "v", Epoch: 9}, nil, 0, Unclaimed},
		{"another delta was committed", g, sg(8, "a", "me"), 9, Forfeit},
		{"another node is its home", g, sg(7, "me", "a"), 9, Unclaimed},
		{"no such shard", g, sg(7, "a"), 9, Unclaimed},
		{"may be committed yet", g, nil, 5, Unclaimed},
		{"the epoch is over", later, nil, 5, Forfeit},
		{"the catalog is behind", &catalog.Group{ID: "shop", UUID: "u", Epoch: 2}, nil, 0, Unclaimed},
		{"dropped by retention", later, nil, 6, Unclaimed},
	} {
		if got := claimOf(id, "me", c.g, c.sg, c.count, false); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	gone := &catalog.Segment{Epoch: 3, Ordinal: 5, CRC: 7}
	for _, planned := range []bool{false, true} {
		if got := claimOf(id, "me", g, gone, 9, planned); got != Forfeit {
			t.Errorf("nothing is left of its segment, plan %v: %d", planned, got)
		}
		if got := claimOf(id, "me", g, sg(7, "a", "me"), 9, planned); got != Claimed {
			t.Errorf("its segment, plan %v: %d", planned, got)
		}
	}
	if got := claimOf(id, "me", g, sg(8, "a", "me"), 9, true); got != Unclaimed {
		t.Errorf("what may be left of a segment that a plan looks at: %d", got)
	}
}
