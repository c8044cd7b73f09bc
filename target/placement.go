package target

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// place chooses the nodes of a segment's shards. nodes are all nodes in a fixed
// order; those that are up come first, and the start rotates with the ordinal,
// so that data and parity spread evenly. It names nodes that are down only if
// there are too few others: they get their shard by repair when they return.
func place(nodes []redoubt.NodeID, up func(redoubt.NodeID) bool, ordinal uint64, shards int) ([]redoubt.NodeID, error) {
	if len(nodes) < shards {
		return nil, fmt.Errorf("%d shards need as many nodes, there are %d: %w", shards, len(nodes), redoubt.ErrUnavailable)
	}
	var alive, dead []redoubt.NodeID
	for _, n := range nodes {
		if up(n) {
			alive = append(alive, n)
		} else {
			dead = append(dead, n)
		}
	}
	if len(alive) < shards {
		// Keep the fixed order, so that shard numbers still rotate over all.
		chosen := map[redoubt.NodeID]bool{}
		for _, n := range append(alive, dead...)[:shards] {
			chosen[n] = true
		}
		alive = alive[:0:0]
		for _, n := range nodes {
			if chosen[n] {
				alive = append(alive, n)
			}
		}
	}
	out := make([]redoubt.NodeID, shards)
	start := int(ordinal % uint64(len(alive)))
	for i := range out {
		out[i] = alive[(start+i)%len(alive)]
	}
	return out, nil
}
