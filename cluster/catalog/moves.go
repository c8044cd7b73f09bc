package catalog

import (
	"cmp"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// movesAtOnce is how many shards are on their way to a new home at most. The
// rest of a plan waits: what is not planned costs nothing, and can still be called off.
const movesAtOnce = 512

// levelAtOnce is the same for shards that move so that nodes hold alike: there
// is no hurry, and the loads may change.
const levelAtOnce = 64

// NextMoves returns the command that plans the next moves of shards: away from
// nodes that leave, or else from nodes that hold more than others by least
// bytes. nil if there are none. live tells which nodes answer.
func (c *Catalog) NextMoves(live func(redoubt.NodeID) bool, least uint64) Command {
	c.mu.RLock()
	defer c.mu.RUnlock()
	leaving := len(c.s.moves) > 0
	for id, n := range c.s.nodes {
		leaving = leaving || n.State.leaving() && c.s.heldBy(id).Shards > 0
	}
	if leaving {
		if moves := c.s.movePlan(live, movesAtOnce); len(moves) > 0 {
			return PlanMoves{Moves: moves}
		}
	}
	if moves := c.s.levelPlan(live, least, levelAtOnce); len(moves) > 0 {
		return LevelShards{Moves: moves}
	}
	return nil
}

// movePlan says which shards should get which new home now, and which plans
// are void: a pure function of the catalog and of who is live. room is how many moves
// may be under way at once. Shards of dead nodes come first, because they are
// missing; then those of nodes that only want to leave.
func (s *state) movePlan(live func(redoubt.NodeID) bool, room int) []ShardMove {
	var out []ShardMove
	p := &planner{s: s, live: live, coming: map[redoubt.NodeID]uint64{}, moves: maps.Clone(s.moves), load: s.loads()}
	for _, k := range slices.SortedFunc(maps.Keys(s.moves), compareShards) {
		if p.stillGood(k, s.moves[k]) {
			p.coming[s.moves[k]]++
			continue
		}
		delete(p.moves, k)
		out = append(out, ShardMove{ShardRef: k.ref()})
	}
	for _, dead := range []bool{true, false} {
		room := room - len(p.moves)
		if room <= 0 {
			break
		}
		leaving := func(id redoubt.NodeID) bool { return s.nodes[id].State.leaving() && live(id) != dead }
		s.each(leaving, func(key epochKey, h *history, i uint64) bool {
			for shard, from := range s.places.list[h.at(i).place].nodes {
				k := shardKey{key, i, uint8(shard)}
				if _, planned := p.moves[k]; planned || !leaving(from) {
					continue
				}
				if to := p.newHome(k, h.at(i), from); to != "" {
					p.moves[k] = to
					p.coming[to]++
					out = append(out, ShardMove{ShardRef: k.ref(), To: to})
					room--
				}
			}
			return room > 0 && len(out) < MaxBatch/2
		})
	}
	return out
}

// planner is a plan in the making.
type planner struct {
	s      *state
	live   func(redoubt.NodeID) bool
	moves  map[shardKey]redoubt.NodeID // planned, then and now
	coming map[redoubt.NodeID]uint64   // of these, by node
	load   map[redoubt.NodeID]uint64   // bytes on each node after the moves planned earlier
}

// stillGood reports whether a move that was planned earlier should go on: its
// node leaves, or holds more than the new home even without the shard.
func (p *planner) stillGood(k shardKey, to redoubt.NodeID) bool {
	_, at, ok := p.s.shard(k)
	if !ok || !p.takes(to) || slices.Contains(at.nodes, to) {
		return false
	}
	from := at.nodes[k.shard]
	return p.s.nodes[from].State.leaving() || p.load[from] > p.load[to]
}

func (p *planner) takes(id redoubt.NodeID) bool {
	n, ok := p.s.nodes[id]
	return ok && n.State == NodeActive && p.live(id)
}

// newHome chooses the node that gets shard k: the successor of the node that
// leaves, or else one whose failure domain keeps at most m shards of the segment, and of
// these the one that holds least. "" if there is none.
func (p *planner) newHome(k shardKey, r *record, from redoubt.NodeID) redoubt.NodeID {
	at := &p.s.places.list[r.place]
	domains := map[string]int{}
	taken := map[redoubt.NodeID]bool{}
	for i, n := range at.nodes {
		taken[n] = true
		stays := n
		if other := (shardKey{k.epochKey, k.ordinal, uint8(i)}); p.moves[other] != "" {
			stays = p.moves[other]
			taken[stays] = true
		}
		if uint8(i) != k.shard && !p.s.nodes[stays].State.leaving() {
			domains[p.s.nodes[stays].domain()]++
		}
	}
	if to := p.s.nodes[from].Successor; to != "" && !taken[to] && p.takes(to) {
		return to
	}
	var best redoubt.NodeID
	var bestOver int
	var bestLoad uint64
	for _, id := range p.s.nodeIDs() {
		if taken[id] || !p.takes(id) {
			continue
		}
		over := max(0, domains[p.s.nodes[id].domain()]+1-max(1, int(at.m)))
		load := p.s.heldBy(id).Shards + p.coming[id]
		if best == "" || cmp.Or(cmp.Compare(over, bestOver), cmp.Compare(load, bestLoad)) < 0 {
			best, bestOver, bestLoad = id, over, load
		}
	}
	return best
}

// domain is what fails together with the node; without a label that is itself.
func (n NodeInfo) domain() string {
	if n.Domain == "" {
		return "node/" + string(n.ID) // no label has a slash
	}
	return n.Domain
}

// each calls fn with every record whose place names a node that match accepts,
// in the order of groups, epochs and ordinals, until fn returns false. It
// walks only the epochs that have such records. fn may change the record's
// stored bits.
func (s *state) each(match func(redoubt.NodeID) bool, fn func(k epochKey, h *history, i uint64) bool) {
	places := make([]bool, len(s.places.list))
	for i, p := range s.places.list {
		places[i] = slices.ContainsFunc(p.nodes, match)
	}
	for _, id := range s.groupIDs() {
		for _, f := range s.groups[id].Lineage {
			k := epochKey{id, f.Epoch}
			h := s.history(id, f.Epoch)
			left := uint64(0)
			for at, n := range h.tally.uses {
				if places[at] {
					left += n
				}
			}
			for i := uint64(0); left > 0 && i < h.len(); i++ {
				if !places[h.at(i).place] {
					continue
				}
				if !fn(k, h, i) {
					return
				}
				left--
			}
		}
	}
}

func (s *state) groupIDs() []redoubt.GroupID { return slices.Sorted(maps.Keys(s.groups)) }

func (k shardKey) ref() ShardRef {
	return ShardRef{Group: k.group, Epoch: k.epoch, Ordinal: k.ordinal, Shard: k.shard}
}

func compareShards(a, b shardKey) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(a.shard, b.shard))
}
