package catalog

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Levelling begins when the fullest node has over a quarter of the mean more
// than the emptiest, and goes on until that is a tenth: so it neither runs all
// the time nor begins again at once.
const (
	levelBegin = 4
	levelEnd   = 10
)

// levelPlan says which shards should move from the fullest node to the
// emptiest, so that a node that came late gets its part of the history, too: a
// pure function of the catalog and of who is live. room is how many moves may
// be under way at once; less than least bytes of difference are left alone.
//
// It plans nothing while a node leaves or is away: what is missing then comes
// first, and an absence may be short.
func (s *state) levelPlan(live func(redoubt.NodeID) bool, least uint64, room int) []ShardMove {
	room -= len(s.moves)
	load := s.loads()
	var sum uint64
	var from, to redoubt.NodeID
	for _, id := range s.nodeIDs() {
		switch n := s.nodes[id]; {
		case n.State.leaving() && s.heldBy(id).Shards > 0, n.State == NodeActive && !live(id):
			return nil
		case n.State != NodeActive:
			continue
		}
		sum += load[id]
		if from == "" || load[id] > load[from] {
			from = id
		}
		if to == "" || load[id] < load[to] {
			to = id
		}
	}
	if room <= 0 || from == to {
		return nil
	}
	mean := sum / uint64(s.inState(NodeActive, ""))
	bound := max(least, mean/levelBegin)
	if len(s.moves) > 0 {
		bound = max(least, mean/levelEnd)
	}
	if load[from]-load[to] <= bound {
		return nil
	}
	bound = max(least, mean/levelEnd)
	var out []ShardMove
	s.each(func(id redoubt.NodeID) bool { return id == from }, func(key epochKey, h *history, i uint64) bool {
		r := h.at(i)
		k := shardKey{key, i, uint8(slices.Index(s.places.list[r.place].nodes, from))}
		size := uint64(r.shardSize)
		if s.moves[k] == "" && size > 0 && load[from] >= load[to]+2*size && s.canLevel(k, to) {
			load[from], load[to] = load[from]-size, load[to]+size
			out = append(out, ShardMove{ShardRef: k.ref(), To: to})
		}
		return len(out) < room && load[from]-load[to] > bound
	})
	return out
}

// loads are the bytes on each node, as they are after the moves under way.
func (s *state) loads() map[redoubt.NodeID]uint64 {
	load := map[redoubt.NodeID]uint64{}
	for id := range s.nodes {
		load[id] = s.heldBy(id).Bytes
	}
	for k, to := range s.moves {
		if r, p, ok := s.shard(k); ok {
			load[p.nodes[k.shard]] -= uint64(r.shardSize)
			load[to] += uint64(r.shardSize)
		}
	}
	return load
}

// canLevel reports whether the shard is durable on an active node, may go to
// another one, and puts no more of its segment into one failure domain there.
func (s *state) canLevel(k shardKey, to redoubt.NodeID) bool {
	r, p, ok := s.shard(k)
	if n, known := s.nodes[to]; !ok || !known || n.State != NodeActive || r.stored&(1<<k.shard) == 0 || s.onNode(k, r, to) {
		return false
	}
	from := s.nodes[p.nodes[k.shard]]
	if from.State != NodeActive {
		return false
	}
	in := map[string]int{}
	for i, id := range p.nodes {
		other := k
		other.shard = uint8(i)
		if next := s.moves[other]; next != "" {
			id = next
		}
		if other != k {
			in[s.nodes[id].domain()]++
		}
	}
	most := max(1, int(p.m))
	there := in[s.nodes[to].domain()] + 1
	return there <= most || there <= in[from.domain()]+1
}

// LevelShards gives shards of active nodes a home on nodes that hold less. Like
// PlanMoves it leaves the manifests as they are until the new home has the
// shard, and leaves out what does not fit the catalog any more. Result: nil.
type LevelShards struct{ Moves []ShardMove }

func (c LevelShards) kind() kind        { return kindLevelShards }
func (c LevelShards) encode(e *encoder) { PlanMoves(c).encode(e) }
func (c LevelShards) check() error      { return PlanMoves(c).check() }

func (c LevelShards) apply(s *state) (any, error) {
	for _, m := range c.Moves {
		if k := m.key(); s.moves[k] == "" && s.canLevel(k, m.To) && len(s.moves) < maxMoves {
			s.moves[k] = m.To
		}
	}
	return nil, nil
}
