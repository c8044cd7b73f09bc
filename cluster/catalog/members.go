package catalog

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Member is a node with what the catalog knows of its load.
type Member struct {
	NodeInfo
	Held   Held     `json:"held"`
	Coming uint64   `json:"coming"` // shards on their way to it
	Going  uint64   `json:"going"`  // shards on their way from it
	Holds  []string `json:"holds"`  // what it must lose before it can be removed, in words; of a node that drains
}

// Members returns every node that was ever named: also invited and removed ones.
func (c *Catalog) Members() []Member {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Member
	at := map[redoubt.NodeID]int{}
	for _, id := range c.s.nodeIDs() {
		m := Member{NodeInfo: c.s.nodes[id], Held: c.s.heldBy(id)}
		if m.State == NodeDraining {
			m.Holds = c.s.holds(id)
		}
		at[id] = len(out)
		out = append(out, m)
	}
	for k, to := range c.s.moves {
		if i, ok := at[to]; ok {
			out[i].Coming++
		}
		if _, p, ok := c.s.shard(k); ok {
			if i, ok := at[p.nodes[k.shard]]; ok {
				out[i].Going++
			}
		}
	}
	return out
}

// Incoming is a shard that a node shall take over.
type Incoming struct {
	ShardRef
	UUID    string // of the group
	From    redoubt.NodeID
	Segment Segment
}

// MovesTo returns up to limit shards that are planned to move to the node, in
// the catalog's order.
func (c *Catalog) MovesTo(id redoubt.NodeID, limit int) []Incoming {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var keys []shardKey
	for k, to := range c.s.moves {
		if to == id {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, compareShards)
	var out []Incoming
	for _, k := range keys[:min(limit, len(keys))] {
		r, p, ok := c.s.shard(k)
		if g := c.s.groups[k.group]; ok && g != nil {
			out = append(out, Incoming{ShardRef: k.ref(), UUID: g.UUID, From: p.nodes[k.shard], Segment: c.s.segment(k.epoch, k.ordinal, r)})
		}
	}
	return out
}

// Holds reports whether the shard of the segment with this checksum has the
// node as its home, or is planned to. known is false if the catalog has no
// such segment: it may still be committed.
func (c *Catalog) Holds(id redoubt.NodeID, ref ShardRef, crc uint32) (holds, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, p, ok := c.s.shard(ref.key())
	if !ok || r.crc != crc {
		return false, false
	}
	return p.nodes[ref.Shard] == id || c.s.moves[ref.key()] == id, true
}

// LostWithout counts the segments that the live nodes could not rebuild without
// this one.
func (c *Catalog) LostWithout(id redoubt.NodeID, live func(redoubt.NodeID) bool) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.lostWithout(id, live)
}
