package catalog

import (
	"math/bits"

	"github.com/redoubt-dr/redoubt"
)

// tally counts what one (group, epoch) has, so that nobody walks a million
// segments to know it. It follows from the records and is in no snapshot.
type tally struct {
	degraded uint64            // segments without all of their shards
	bare     uint64            // of these, with no shard to lose
	bytes    uint64            // of all shards that are durable
	gone     uint64            // segments of which nothing is left; they count as nothing else
	uses     map[uint32]uint64 // segments by place
}

// Held is what lies on one node, by the manifests.
type Held struct {
	Shards uint64 `json:"shards"` // that the manifests give it a home for
	Bytes  uint64 `json:"bytes"`  // of these
}

// Redundancy says how well a group's history is stored, over all epochs.
type Redundancy struct {
	Segments uint64 // committed, but for those of which nothing is left
	Degraded uint64 // of these, without all of their shards
	Bare     uint64 // of these, with no shard to lose
	Bytes    uint64 // of all shards on all nodes
}

// subtotal is what records of one place add up to.
type subtotal struct {
	place                         uint32
	records, gone, degraded, bare uint64
	bytes                         uint64 // of durable shards
	each                          uint64 // of all records' shards, one of each
}

// subtotals are few: most segments of a stretch of history lie alike.
type subtotals []subtotal

// add counts the record for n segments.
func (t *subtotals) add(s *state, r *record, n uint64) {
	at := len(*t) - 1
	for at >= 0 && (*t)[at].place != r.place {
		at--
	}
	if at < 0 {
		at = len(*t)
		*t = append(*t, subtotal{place: r.place})
	}
	o, p := &(*t)[at], &s.places.list[r.place]
	stored := uint64(bits.OnesCount32(r.stored))
	o.records += n
	if r.size == 0 {
		o.gone += n
	}
	if stored < uint64(len(p.nodes)) {
		o.degraded += n
	}
	if stored <= uint64(p.k) && p.m > 0 {
		o.bare += n
	}
	o.bytes += n * stored * uint64(r.shardSize)
	o.each += n * uint64(r.shardSize)
}

// count adds the record to the tallies (by 1), or takes it out of them (by -1).
// Every record passes here when it changes and goes, and when it comes, but for
// those of a snapshot, which come by many.
func (s *state) count(h *history, r *record, by int) {
	var one [1]subtotal
	t := subtotals(one[:0])
	t.add(s, r, 1)
	s.tell(h, &t[0], uint64(by)) // -1 wraps, and so subtracts
}

func (s *state) countAll(h *history, t subtotals) {
	for i := range t {
		s.tell(h, &t[i], 1)
	}
}

func (s *state) tell(h *history, t *subtotal, sign uint64) {
	h.tally.gone += sign * t.gone
	h.tally.degraded += sign * t.degraded
	h.tally.bare += sign * t.bare
	h.tally.bytes += sign * t.bytes
	if h.tally.uses == nil {
		h.tally.uses = map[uint32]uint64{}
	}
	if h.tally.uses[t.place] += sign * t.records; h.tally.uses[t.place] == 0 {
		delete(h.tally.uses, t.place)
	}
	for _, id := range s.places.list[t.place].nodes {
		held := s.held[id]
		if held == nil {
			held = &Held{}
			s.held[id] = held
		}
		held.Shards += sign * t.records
		held.Bytes += sign * t.each
	}
}

// append adds a record at the end of h.
func (s *state) append(h *history, r record) {
	h.add(r, s.gen)
	s.count(h, &r, 1)
}

// edit changes record i of h.
func (s *state) edit(h *history, i uint64, change func(*record)) {
	r := h.own(i, s.gen)
	s.count(h, r, -1)
	change(r)
	s.count(h, r, 1)
}

// heldBy returns what the manifests say lies on the node.
func (s *state) heldBy(id redoubt.NodeID) Held {
	if h := s.held[id]; h != nil {
		return *h
	}
	return Held{}
}

// Redundancy returns how well the group is stored; zero for an unknown one. It
// costs the same however long the history is.
func (c *Catalog) Redundancy(id redoubt.GroupID) (r Redundancy) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, ok := c.s.groups[id]
	if !ok {
		return r
	}
	for _, f := range g.Lineage {
		h := c.s.history(id, f.Epoch)
		r.Segments += h.len() - h.tally.gone
		r.Degraded += h.tally.degraded
		r.Bare += h.tally.bare
		r.Bytes += h.tally.bytes
	}
	return r
}

// Held returns what the manifests say lies on the node.
func (c *Catalog) Held(id redoubt.NodeID) Held {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.heldBy(id)
}
