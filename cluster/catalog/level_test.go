package catalog

import (
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// level carries plans out until there are none, and returns how many shards moved.
func (m *machine) level(least uint64, room int) (moved int) {
	m.t.Helper()
	for {
		for _, shard := range m.s.movePlan(alive, MaxBatch) {
			m.t.Fatalf("a plan is void at once: %+v", shard)
		}
		plan := m.s.levelPlan(alive, least, room)
		if len(plan) == 0 && len(m.s.moves) == 0 {
			return moved
		}
		if len(plan) > 0 {
			m.must(LevelShards{Moves: plan})
			if len(m.s.moves) > room {
				m.t.Fatalf("%d moves at once, %d are allowed", len(m.s.moves), room)
			}
		}
		m.s = reload(m.t, m.s)
		for k, to := range m.s.moves {
			m.must(FinishMoves{Node: to, Shards: m.arrived([]ShardMove{{ShardRef: k.ref(), To: to}})})
			moved++
			break // the others are on their way while it is planned again
		}
	}
}

// fill makes n segments of the group on the first nodes, with shards of 1 to 8 MiB.
func (m *machine) fill(g Group, n int) {
	m.t.Helper()
	rng := seeded.Rand(m.t)
	for i := range uint64(n) {
		s := seg(g, i, redoubt.LSN(i+1), redoubt.LSN(i+1))
		s.K, s.M, s.Nodes, s.Stored = uint8(g.K), uint8(g.M), nil, 1<<(g.K+g.M)-1
		for n := range g.K + g.M {
			s.Nodes = append(s.Nodes, nodeName(n))
		}
		s.ShardSize = uint32(1+rng.IntN(8)) << 20
		s.Size = s.ShardSize * uint32(g.K)
		m.must(batch(g, s))
		g = m.group(string(g.ID))
	}
}

func (m *machine) spread() (least, most, mean uint64) {
	var all []uint64
	for id, n := range m.s.nodes {
		if n.State == NodeActive {
			all = append(all, m.s.heldBy(id).Bytes)
		}
	}
	for _, b := range all {
		mean += b / uint64(len(all))
	}
	return slices.Min(all), slices.Max(all), mean
}

// Nodes that come late get their part of the history, each segment stays on
// nodes of its own, and then nothing moves any more.
func TestNewNodesAreLevelled(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	m.fill(m.group("g"), 600)
	if plan := m.s.levelPlan(alive, 1, 64); len(plan) > 0 {
		t.Fatalf("nodes that hold alike are levelled: %+v", plan)
	}
	m.join("n4", "")
	m.join("n5", "")
	if plan := m.s.levelPlan(alive, 1<<40, 64); len(plan) > 0 {
		t.Fatalf("levelled for less than the least difference: %d moves", len(plan))
	}
	if plan := m.s.levelPlan(func(id redoubt.NodeID) bool { return id != "n2" }, 1, 64); len(plan) > 0 {
		t.Fatal("levelled while a node is away")
	}
	moved := m.level(1<<20, 16)
	least, most, mean := m.spread()
	if most-least > mean/levelEnd+16<<20 {
		t.Errorf("%d to %d bytes a node after levelling, mean %d", least, most, mean)
	}
	if moved > 2*600*3/5+100 {
		t.Errorf("%d shards moved; two fifths of 1800 would do", moved)
	}
	h := m.s.epochs[epochKey{"g", 1}]
	for i := range h.len() {
		nodes := slices.Sorted(slices.Values(m.s.places.list[h.at(i).place].nodes))
		if len(slices.Compact(nodes)) != 3 || h.at(i).stored != 7 {
			t.Fatalf("segment %d is on %v, stored %b", i, nodes, h.at(i).stored)
		}
	}
	m.checkTallies()
}

// A node in a domain that has its part of a segment already gets none of it.
func TestLevellingKeepsDomains(t *testing.T) {
	m := &machine{t: t, s: newState()}
	for i, d := range []string{"a", "b", "c", "a"} {
		m.join(nodeName(i), d)
	}
	m.must(createG("g"))
	m.fill(m.group("g"), 100)
	if m.level(1, 16) == 0 {
		t.Fatal("nothing moved to the new node of domain a")
	}
	h := m.s.epochs[epochKey{"g", 1}]
	for i := range h.len() {
		in := map[string]int{}
		for _, n := range m.s.places.list[h.at(i).place].nodes {
			if in[m.node(n).Domain]++; in[m.node(n).Domain] > 1 {
				t.Fatalf("segment %d has two shards in domain %s", i, m.node(n).Domain)
			}
		}
	}
}

// What was planned and does not fit any more changes nothing, and a drain goes first.
func TestLevellingThatCameTooLate(t *testing.T) {
	m := newMachine(t, 5)
	m.protected("g")
	ref := ShardRef{Group: "g", Epoch: 1, Ordinal: 0, Shard: 1} // on n2
	unchanged := func(c Command) {
		t.Helper()
		before := m.image()
		m.must(c)
		if string(before) != string(m.image()) {
			t.Fatalf("%+v changed the catalog", c)
		}
	}
	unchanged(LevelShards{Moves: []ShardMove{{ref, "n1"}}}) // has a shard of it
	unchanged(LevelShards{Moves: []ShardMove{{ref, "n9"}}})
	unchanged(LevelShards{Moves: []ShardMove{{ShardRef{Group: "g", Epoch: 1, Ordinal: 99}, "n4"}}})
	m.must(LevelShards{Moves: []ShardMove{{ref, "n4"}}})
	unchanged(LevelShards{Moves: []ShardMove{{ref, "n5"}}}) // on its way elsewhere
	m.must(DrainNode{ID: "n2"})
	unchanged(LevelShards{Moves: []ShardMove{{ShardRef{Group: "g", Epoch: 1, Ordinal: 1, Shard: 1}, "n5"}}})
	if plan := m.s.levelPlan(alive, 1, 64); len(plan) > 0 {
		t.Fatalf("levelled while a node drains: %+v", plan)
	}
}
