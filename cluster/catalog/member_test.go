package catalog

import (
	"fmt"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func (m *machine) node(id redoubt.NodeID) NodeInfo { return m.s.nodes[id] }

// join brings a node in as the leader's duty does.
func (m *machine) join(id redoubt.NodeID, domain string) {
	m.t.Helper()
	m.must(InviteNode{ID: id})
	m.must(AnnounceNode{Node: NodeInfo{ID: id, Addr: string(id) + ":1", Instance: "i-" + string(id)}, Domain: domain})
	m.must(ActivateNode{ID: id})
}

func TestNodeComesIn(t *testing.T) {
	m := newMachine(t, 3)
	me := NodeInfo{ID: "n4", Addr: "d:1", Instance: "i4"}
	m.refused(AnnounceNode{Node: me}, redoubt.ErrNotFound)
	m.refused(InviteNode{ID: "n1"}, redoubt.ErrExists)
	m.refused(InviteNode{ID: "a/b"}, redoubt.ErrInvalid)
	m.must(InviteNode{ID: "n4"})
	m.must(InviteNode{ID: "n4"})
	if n := m.node("n4"); n.State != NodeInvited {
		t.Fatalf("%+v", n)
	}
	m.refused(ActivateNode{ID: "n4"}, redoubt.ErrState)
	m.must(AnnounceNode{Node: me, Domain: "rack1"})
	m.must(AnnounceNode{Node: me, Domain: "rack1"})
	wiped := me
	wiped.Instance = "other"
	m.refused(AnnounceNode{Node: wiped}, redoubt.ErrExists)
	m.refused(PutNode{Node: wiped}, redoubt.ErrExists)
	m.must(createG("g"))
	if g := m.group("g"); g.Owner == "n4" {
		t.Error("a node that has not caught up owns a group")
	}
	m.refused(SetOwner{Group: "g", Node: "n4", Term: 1}, redoubt.ErrState)
	m.must(ActivateNode{ID: "n4"})
	m.must(ActivateNode{ID: "n4"})
	m.must(PutNode{Node: NodeInfo{ID: "n4", Addr: "e:1", Instance: "i4"}}) // another address: nothing else changes
	if n := m.node("n4"); n.State != NodeActive || n.Domain != "rack1" || n.Addr != "e:1" {
		t.Fatalf("%+v", n)
	}
	m.must(SetOwner{Group: "g", Node: "n4", Term: 1})
	m.must(InviteNode{ID: "n5"})
	m.must(RemoveNode{ID: "n5"}) // taken back
	if _, ok := m.s.nodes["n5"]; ok {
		t.Error("an invitation that was taken back is there")
	}
}

func TestNodeLeaves(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	for _, c := range []Command{DrainNode{ID: "n2"}, RemoveNode{ID: "n2"}, RemoveNode{ID: "n2", Force: true}} {
		m.refused(c, redoubt.ErrState) // 2+1 needs three
	}
	m.refused(DrainNode{ID: "no"}, redoubt.ErrNotFound)
	m.refused(DrainNode{ID: "n1", Successor: "n1"}, redoubt.ErrInvalid)
	m.join("n4", "")
	m.refused(RemoveNode{ID: "n2"}, redoubt.ErrState) // it has shards
	m.refused(DrainNode{ID: "n2", Cancel: true}, redoubt.ErrState)
	m.refused(DrainNode{ID: "n2", Successor: "no"}, redoubt.ErrNotFound)
	m.must(DrainNode{ID: "n2"})
	m.refused(DrainNode{ID: "n3", Successor: "n2"}, redoubt.ErrState)
	m.refused(DrainNode{ID: "n3"}, redoubt.ErrState)
	m.must(DrainNode{ID: "n2", Cancel: true})
	m.must(DrainNode{ID: "n2", Successor: "n4"})

	plan := m.s.movePlan(alive, 100)
	if len(plan) != 2 || plan[0].To != "n4" {
		t.Fatalf("the plan is %+v", plan)
	}
	m.must(PlanMoves{Moves: plan})
	if again := m.s.movePlan(alive, 100); len(again) != 0 {
		t.Fatalf("planned twice: %+v", again)
	}
	if d := m.s.epochs[epochKey{"g", 1}].tally.degraded; d != 0 {
		t.Fatalf("%d segments are degraded by a plan", d)
	}
	m.s = reload(t, m.s) // the plan outlives a snapshot
	m.must(FinishMoves{Node: "n4", Shards: m.arrived(plan[:1])})
	m.must(FinishMoves{Node: "n4", Shards: m.arrived(plan[:1])}) // once more is the same
	m.refused(RemoveNode{ID: "n2"}, redoubt.ErrState)
	m.must(FinishMoves{Node: "n4", Shards: m.arrived(plan[1:])})
	if held := m.s.heldBy("n2"); held != (Held{}) || m.s.heldBy("n4").Shards != 2 {
		t.Fatalf("n2 has %+v, n4 %+v", held, m.s.heldBy("n4"))
	}
	if own := m.group("g").Owner; own == "n2" {
		t.Fatal("the test wants another owner")
	}
	m.must(RemoveNode{ID: "n2"})
	m.must(RemoveNode{ID: "n2"})
	m.refused(InviteNode{ID: "n2"}, redoubt.ErrExists)
	m.refused(AnnounceNode{Node: NodeInfo{ID: "n2", Addr: "x:1", Instance: "inst1"}}, redoubt.ErrState)
	m.refused(PutNode{Node: NodeInfo{ID: "n2", Addr: "x:1", Instance: "inst1"}}, redoubt.ErrState)
	m.checkTallies()
}

func alive(redoubt.NodeID) bool { return true }

// arrived is what the new homes say when they have the shards.
func (m *machine) arrived(plan []ShardMove) (out []ShardOf) {
	for _, p := range plan {
		r, _, ok := m.s.shard(p.key())
		if !ok {
			m.t.Fatalf("planned %+v, which is not there", p)
		}
		out = append(out, ShardOf{p.ShardRef, r.crc})
	}
	return out
}

// A plan that does not fit any more changes nothing.
func TestMovesThatCameTooLate(t *testing.T) {
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
	unchanged(PlanMoves{Moves: []ShardMove{{ref, "n4"}}}) // n2 does not leave
	m.must(DrainNode{ID: "n2"})
	unchanged(PlanMoves{Moves: []ShardMove{{ref, "n1"}}}) // has a shard of it
	unchanged(PlanMoves{Moves: []ShardMove{{ref, "n9"}}})
	unchanged(PlanMoves{Moves: []ShardMove{{ShardRef{Group: "g", Epoch: 1, Ordinal: 99}, "n4"}}})
	unchanged(FinishMoves{Node: "n4", Shards: []ShardOf{{ref, 5}}}) // not planned
	m.must(PlanMoves{Moves: []ShardMove{{ref, "n4"}}})
	unchanged(FinishMoves{Node: "n5", Shards: []ShardOf{{ref, 5}}}) // not for n5
	m.must(FinishMoves{Node: "n4", Shards: []ShardOf{{ref, 77}}})   // made of something else
	if r, p, _ := m.s.shard(ref.key()); p.nodes[1] != "n2" || r.stored != 7 {
		t.Fatalf("shard 1 is on %s, stored %b", p.nodes[1], r.stored)
	}
	m.must(PlanMoves{Moves: []ShardMove{{ref, "n4"}}})
	m.must(DrainNode{ID: "n2", Cancel: true})
	plan := m.s.movePlan(alive, 10)
	if len(plan) != 1 || plan[0].To != "" {
		t.Fatalf("the void plan is not taken back: %+v", plan)
	}
	m.must(PlanMoves{Moves: plan})
	if away := m.node("n4").Away; len(m.s.moves) != 0 || away == 0 {
		t.Fatalf("%d moves left, n4 was told %d times", len(m.s.moves), away)
	}
}

// A dead node goes only if the others have enough, and its shards are planned first.
func TestForcedRemoval(t *testing.T) {
	m := newMachine(t, 6)
	m.must(createG("g"))
	g := m.group("g")
	short := seg(g, 0, 1, 5)
	short.Stored = 3 // on n1 and n2 only
	m.must(batch(g, short))
	m.refused(RemoveNode{ID: "n2", Force: true}, redoubt.ErrState)
	m.must(ShardsStored{Node: "n3", Shards: []ShardRef{{Group: "g", Epoch: 1, Shard: 2}}})
	m.must(DrainNode{ID: "n1"})
	m.must(RemoveNode{ID: "n2", Force: true})
	if r := m.s.epochs[epochKey{"g", 1}]; r.tally.degraded != 1 || r.at(0).stored != 5 {
		t.Fatalf("%d degraded, stored %b", r.tally.degraded, r.at(0).stored)
	}
	plan := m.s.movePlan(func(id redoubt.NodeID) bool { return id != "n2" && id != "n4" }, 1)
	if len(plan) != 1 || plan[0].Shard != 1 || plan[0].To != "n5" {
		t.Fatalf("the plan is %+v, want the dead node's shard on n5", plan)
	}
	m.must(PlanMoves{Moves: plan})
	m.must(FinishMoves{Node: "n5", Shards: m.arrived(plan)})
	if r := m.s.epochs[epochKey{"g", 1}]; r.tally.degraded != 0 {
		t.Error("not whole after the move")
	}
	m.checkTallies()
}

// New homes keep to the failure domains: 4+2 on six nodes in three.
func TestMovesKeepDomains(t *testing.T) {
	m := &machine{t: t, s: newState()}
	for i, d := range []string{"a", "a", "b", "b", "c", "c", "a", "b", "c"} {
		m.join(nodeName(i), d)
	}
	c := createG("g")
	c.K, c.M = 4, 2
	m.must(c)
	rng := seeded.Rand(t)
	g := m.group("g")
	for i := range uint64(60) {
		s := seg(g, i, redoubt.LSN(i+1), redoubt.LSN(i+1))
		s.K, s.M, s.Nodes, s.Stored = 4, 2, nil, 63
		for n := range 6 {
			s.Nodes = append(s.Nodes, nodeName(n))
		}
		m.must(batch(g, s))
	}
	for range 6 { // any one leaves, and comes back empty
		id := nodeName(rng.IntN(9))
		m.must(DrainNode{ID: id})
		for plan := m.s.movePlan(alive, 17); len(plan) > 0; plan = m.s.movePlan(alive, 17) {
			m.must(PlanMoves{Moves: plan})
			for _, p := range plan {
				m.must(FinishMoves{Node: p.To, Shards: m.arrived([]ShardMove{p})})
			}
		}
		if h := m.s.heldBy(id).Shards; h != 0 {
			t.Fatalf("%s holds %d shards", id, h)
		}
		m.must(DrainNode{ID: id, Cancel: true})
		h := m.s.epochs[epochKey{"g", 1}]
		for i := range h.len() {
			in := map[string]int{}
			for _, n := range m.s.places.list[h.at(i).place].nodes {
				if d := m.node(n).Domain; in[d] == 2 {
					t.Fatalf("after %s left: segment %d has three shards in domain %s", id, i, d)
				}
				in[m.node(n).Domain]++
			}
		}
	}
	m.checkTallies()
}

// checkTallies counts everything anew.
func (m *machine) checkTallies() {
	m.t.Helper()
	held := map[redoubt.NodeID]Held{}
	for k, h := range m.s.epochs {
		var want tally
		uses := map[uint32]uint64{}
		for i := range h.len() {
			r := h.at(i)
			p := m.s.places.list[r.place]
			stored := 0
			for shard, n := range p.nodes {
				stored += int(r.stored >> shard & 1)
				x := held[n]
				held[n] = Held{x.Shards + 1, x.Bytes + uint64(r.shardSize)}
			}
			if stored < len(p.nodes) {
				want.degraded++
			}
			if r.size == 0 {
				want.gone++
			}
			want.bytes += uint64(stored) * uint64(r.shardSize)
			uses[r.place]++
		}
		if h.tally.degraded != want.degraded || h.tally.bytes != want.bytes || h.tally.gone != want.gone || fmt.Sprint(h.tally.uses) != fmt.Sprint(uses) {
			m.t.Errorf("%v: tally %+v, counted %+v %v", k, h.tally, want, uses)
		}
	}
	for id := range m.s.nodes {
		if m.s.heldBy(id) != held[id] {
			m.t.Errorf("%s: held %+v, counted %+v", id, m.s.heldBy(id), held[id])
		}
	}
}
