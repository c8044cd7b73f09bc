package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// maxMoves bounds the shards that are on their way to a new home.
const maxMoves = MaxBatch

// shardKey names a shard's place in the catalog.
type shardKey struct {
	epochKey
	ordinal uint64
	shard   uint8
}

func (r ShardRef) key() shardKey {
	return shardKey{epochKey{r.Group, r.Epoch}, r.Ordinal, r.Shard}
}

// ShardMove plans a new home for a shard; To "" takes the plan back.
type ShardMove struct {
	ShardRef
	To redoubt.NodeID
}

// PlanMoves gives shards a new home. Until the new home has the shard
// (FinishMoves) the manifest stays as it is, so nothing is less safe
// meanwhile. A move that does not fit the catalog any more is left out: the
// planner looks again. Result: nil.
type PlanMoves struct{ Moves []ShardMove }

func (c PlanMoves) kind() kind { return kindPlanMoves }

func (c PlanMoves) encode(e *encoder) {
	e.uvar(uint64(len(c.Moves)))
	for _, m := range c.Moves {
		e.shardRef(m.ShardRef)
		e.str(string(m.To))
	}
}

func decodePlanMoves(d *decoder) PlanMoves {
	var c PlanMoves
	for range d.count(MaxBatch, "number of moves") {
		c.Moves = append(c.Moves, ShardMove{ShardRef: d.shardRef(), To: d.nodeID()})
		if d.err != nil {
			break
		}
	}
	return c
}

func (c PlanMoves) check() error {
	if len(c.Moves) == 0 || len(c.Moves) > MaxBatch {
		return invalid("plan moves", "", fmt.Sprintf("%d moves", len(c.Moves)))
	}
	return nil
}

func (c PlanMoves) apply(s *state) (any, error) {
	for _, m := range c.Moves {
		k := m.key()
		old, planned := s.moves[k]
		if planned && old != m.To {
			s.away(old) // what it has of the shard already is to be thrown away
			delete(s.moves, k)
		}
		if m.To != "" && s.canMove(k, m.To) && len(s.moves) < maxMoves {
			s.moves[k] = m.To
		}
	}
	return nil, nil
}

// canMove reports whether the shard exists, should leave its node, and may go there.
func (s *state) canMove(k shardKey, to redoubt.NodeID) bool {
	r, p, ok := s.shard(k)
	if !ok || s.nodes[to].ID == "" || s.nodes[to].State != NodeActive || !s.nodes[p.nodes[k.shard]].State.leaving() {
		return false
	}
	return !s.onNode(k, r, to)
}

// onNode reports whether a shard of k's segment is on the node or on its way there.
func (s *state) onNode(k shardKey, r *record, id redoubt.NodeID) bool {
	for i, n := range s.places.list[r.place].nodes {
		other := k
		other.shard = uint8(i)
		if n == id || other != k && s.moves[other] == id {
			return true
		}
	}
	return false
}

// shard finds the record and the place of a shard.
func (s *state) shard(k shardKey) (*record, *place, bool) {
	h, ok := s.epochs[k.epochKey]
	if !ok || k.ordinal >= h.len() {
		return nil, nil, false
	}
	r := h.at(k.ordinal)
	p := &s.places.list[r.place]
	return r, p, int(k.shard) < len(p.nodes)
}

// away notes that a node may have a shard that it need not keep.
func (s *state) away(id redoubt.NodeID) {
	if n, ok := s.nodes[id]; ok {
		n.Away++
		s.nodes[id] = n
	}
}

// FinishMoves makes Node the home of shards that it has stored. Moves that are
// not planned (any more) are left out. Result: nil.
type FinishMoves struct {
	Node   redoubt.NodeID
	Shards []ShardOf
}

func (c FinishMoves) kind() kind { return kindFinishMoves }

func (c FinishMoves) encode(e *encoder) {
	e.str(string(c.Node))
	e.shardsOf(c.Shards)
}

func decodeFinishMoves(d *decoder) Command {
	return FinishMoves{Node: d.nodeID(), Shards: d.shardsOf()}
}

func (c FinishMoves) check() error {
	if len(c.Shards) == 0 || len(c.Shards) > MaxBatch {
		return invalid("finish moves to node", string(c.Node), fmt.Sprintf("%d shards", len(c.Shards)))
	}
	return redoubt.ValidName("node", string(c.Node))
}

func (c FinishMoves) apply(s *state) (any, error) {
	for _, m := range c.Shards {
		k := m.key()
		if to, planned := s.moves[k]; !planned || to != c.Node {
			continue
		}
		delete(s.moves, k)
		r, p, ok := s.shard(k)
		if !ok || r.crc != m.CRC {
			s.away(c.Node)
			continue
		}
		nodes := append([]redoubt.NodeID(nil), p.nodes...)
		s.away(nodes[k.shard])
		nodes[k.shard] = c.Node
		at := s.places.intern(p.k, p.m, nodes)
		s.edit(s.epochs[k.epochKey], k.ordinal, func(r *record) {
			r.place = at
			r.stored |= 1 << k.shard
		})
	}
	return nil, nil
}
