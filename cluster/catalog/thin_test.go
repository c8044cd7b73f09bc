package catalog

import (
	"bytes"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// left is what a plan leaves of a segment, as its caller changes it.
func (m *machine) left(g Group, ordinal uint64, change func(*Segment)) Replacement {
	old := m.s.segment(1, ordinal, m.s.history(g.ID, 1).at(ordinal))
	r := Replacement{OldCRC: old.CRC, Segment: old}
	change(&r.Segment)
	return r
}

// thinning is a group whose first 50 segments may be replaced now.
func (m *machine) thinning() Group {
	m.t.Helper()
	g := m.aged("g")
	m.must(rightPlan(m, g))
	m.must(AdvancePlan{Group: "g", OwnerTerm: g.OwnerTerm, ID: 1})
	return g
}

func smaller(s *Segment) { s.Size, s.ShardSize, s.CRC, s.HeadLen = s.Size/2, s.ShardSize/2, s.CRC+1, 0 }

func nothing(s *Segment) {
	s.Size, s.HeadLen, s.ShardSize, s.K, s.M, s.Nodes, s.Stored = 0, 0, 0, 0, 0, nil, 0
}

// Segments are thinned while a node drains: what was on its way of the delta
// before has no home any more, and everything is counted right.
func TestThinningBesideMoves(t *testing.T) {
	m := newMachine(t, 5)
	g := m.thinning()
	m.must(DrainNode{ID: "n2"})
	plan := m.s.movePlan(alive, 9)
	m.must(PlanMoves{Moves: plan})
	arrived := m.arrived(plan)
	before := NodeInfo{}
	for _, p := range plan {
		if p.Ordinal == 1 {
			before = m.node(p.To)
		}
	}
	c := ThinSegments{Group: "g", OwnerTerm: g.OwnerTerm, Epoch: 1, ID: 1, Done: Work{Epoch: 1, To: 2}, Segments: []Replacement{
		m.left(g, 0, nothing),
		m.left(g, 1, func(s *Segment) {
			smaller(s)
			s.Nodes, s.Stored = []redoubt.NodeID{"n1", "n3", "n4"}, 3
		})}}
	m.must(c)
	m.checkTallies()
	(&machine{t: t, s: reload(t, m.s)}).checkTallies()
	for k := range m.s.moves {
		if k.ordinal < 2 {
			t.Errorf("shard %d of segment %d is on its way, of a delta that is gone", k.shard, k.ordinal)
		}
	}
	if before.ID == "" || m.node(before.ID).Away == before.Away {
		t.Error("the node that was to get a shard is not told to look for what it has of it")
	}
	for _, node := range []redoubt.NodeID{"n4", "n5"} {
		m.must(FinishMoves{Node: node, Shards: arrived})
	}
	if r, p, _ := m.s.shard(shardKey{epochKey{"g", 1}, 1, 1}); p.nodes[1] != "n3" || r.stored != 3 {
		t.Errorf("the shard of the delta before is taken for one of what is left: on %s, stored %b", p.nodes[1], r.stored)
	}
	m.checkTallies()
	r := (&Catalog{s: m.s}).Redundancy("g")
	if r.Segments != 59 || r.Degraded != 1 || r.Bare != 1 {
		t.Errorf("%+v", r)
	}
}

// A node that has rebuilt a shard of the delta before has none of what is left.
func TestShardsOfAThinnedSegment(t *testing.T) {
	m := newMachine(t, 3)
	g := m.thinning()
	m.must(ThinSegments{Group: "g", OwnerTerm: g.OwnerTerm, Epoch: 1, ID: 1, Done: Work{Epoch: 1, To: 2}, Segments: []Replacement{
		m.left(g, 0, nothing), m.left(g, 1, func(s *Segment) { smaller(s); s.Stored = 3 })}})
	now := m.s.history("g", 1).at(1).crc
	of := func(ordinal uint64, crc uint32) []ShardOf {
		return []ShardOf{{ShardRef{Group: "g", Epoch: 1, Ordinal: ordinal, Shard: 2}, crc}}
	}
	image := m.image()
	for _, c := range []ReportShards{{Node: "n3", Shards: of(1, now-1)}, {Node: "n3", Shards: of(0, now-1)}, {Node: "n1", Shards: of(1, now)},
		{Node: "n3", Shards: of(99, now)}, {Node: "n3", Lost: true, Shards: of(1, now-1)}} {
		m.must(c)
		if !bytes.Equal(image, m.image()) {
			t.Fatalf("%+v changed the catalog", c)
		}
	}
	m.must(ReportShards{Node: "n3", Shards: append(of(0, now), of(1, now)...)}) // the rest of a batch stands
	if r := (&Catalog{s: m.s}).Redundancy("g"); r.Degraded != 0 {
		t.Errorf("%+v", r)
	}
	m.must(ReportShards{Node: "n3", Lost: true, Shards: of(1, now)})
	if r := (&Catalog{s: m.s}).Redundancy("g"); r.Degraded != 1 {
		t.Errorf("%+v", r)
	}
	m.checkTallies()
	m.refused(ReportShards{Node: "n3"}, redoubt.ErrInvalid)
}

// A shard on a node that was given up meanwhile is not durable.
func TestNothingGoesToARemovedNode(t *testing.T) {
	m := newMachine(t, 5)
	g := m.thinning()
	m.must(RemoveNode{ID: "n5"})
	at := func(id redoubt.NodeID) ThinSegments {
		return ThinSegments{Group: "g", OwnerTerm: g.OwnerTerm, Epoch: 1, ID: 1, Done: Work{Epoch: 1, To: 1}, Segments: []Replacement{
			m.left(g, 0, func(s *Segment) { smaller(s); s.Nodes = []redoubt.NodeID{"n1", "n2", id} })}}
	}
	m.refused(at("n5"), redoubt.ErrUnavailable)
	m.refused(at("n9"), redoubt.ErrNotFound)
	m.must(at("n4"))
	m.checkTallies()
}
