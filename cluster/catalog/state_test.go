package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// machine drives a bare state as the FSM does, one index per command.
type machine struct {
	t      testing.TB
	s      *state
	serial uint64
}

func newMachine(t testing.TB, nodes int) *machine {
	m := &machine{t: t, s: newState()}
	for i := range nodes {
		m.must(PutNode{Node: NodeInfo{ID: nodeName(i), Addr: fmt.Sprintf("10.0.0.%d:7447", i+1), Instance: fmt.Sprintf("inst%d", i)}})
	}
	return m
}

func nodeName(i int) redoubt.NodeID { return redoubt.NodeID(fmt.Sprintf("n%d", i+1)) }

// do passes the command through its encoding, as the log would.
func (m *machine) do(c Command) (any, error) {
	m.t.Helper()
	m.serial++
	raw := EncodeEnvelope(Envelope{Client: ClientID{1}, Serial: m.serial, Floor: m.serial, Cmd: c})
	v, err := DecodeEnvelope(raw)
	if err != nil {
		m.t.Fatalf("decode %T: %v", c, err)
	}
	o, err := decodeOutcome(m.s.apply(m.s.index+1, v))
	if err != nil {
		m.t.Fatalf("outcome of %T: %v", c, err)
	}
	return o.value, o.err
}

func (m *machine) must(c Command) any {
	m.t.Helper()
	v, err := m.do(c)
	if err != nil {
		m.t.Fatalf("%+v: %v", c, err)
	}
	return v
}

// refused checks that the command fails with want and changes nothing.
func (m *machine) refused(c Command, want error) {
	m.t.Helper()
	before := m.image()
	_, err := m.do(c)
	if !errors.Is(err, want) {
		m.t.Fatalf("%+v: got %v, want %v", c, err, want)
	}
	if !bytes.Equal(before, m.image()) {
		m.t.Fatalf("%+v was refused but changed the catalog", c)
	}
}

// image is the whole catalog as bytes, without the dedupe table and the index.
func (m *machine) image() []byte {
	m.t.Helper()
	f := m.s.freeze()
	f.index, f.clients = 0, nil
	var b bytes.Buffer
	if err := writeSnapshot(&b, f); err != nil {
		m.t.Fatal(err)
	}
	return b.Bytes()
}

func createG(id string) CreateGroup {
	return CreateGroup{ID: redoubt.GroupID(id), UUID: "uuid-" + id, Source: "host1", SourceAddr: "10.1.1.1:7447",
		Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 30}, {ID: 2, Name: "data", Size: 1 << 20}}, K: 2, M: 1, Now: 1000}
}

func (m *machine) group(id string) Group {
	m.t.Helper()
	g, ok := m.s.groups[redoubt.GroupID(id)]
	if !ok {
		m.t.Fatalf("no group %s", id)
	}
	return *g
}

// seg is a segment that follows what g has committed.
func seg(g Group, ordinal uint64, first, last redoubt.LSN) Segment {
	return Segment{Epoch: g.Epoch, Ordinal: ordinal, First: first, Last: last, FirstTime: int64(first) * 1000, LastTime: int64(last) * 1000,
		Size: 1000, HeadLen: 100, ShardSize: 500, K: 2, M: 1, Nodes: []redoubt.NodeID{"n1", "n2", "n3"}, Stored: 7, CRC: uint32(last)}
}

func batch(g Group, segs ...Segment) CommitSegments {
	return CommitSegments{Batches: []SegmentBatch{{Group: g.ID, Epoch: g.Epoch, OwnerTerm: g.OwnerTerm, Segments: segs}}}
}

// commit appends one segment with n writes and returns the answer.
func (m *machine) commit(id string, n redoubt.LSN) CommitResult {
	m.t.Helper()
	g := m.group(id)
	s := seg(g, m.s.history(g.ID, g.Epoch).len(), g.Committed.LSN+1, g.Committed.LSN+n)
	return m.must(batch(g, s)).([]CommitResult)[0]
}

// protected makes a group with ten writes and a whole baseline at LSN 5.
func (m *machine) protected(id string) Group {
	m.t.Helper()
	m.must(createG(id))
	g := m.group(id)
	s := seg(g, 0, 1, 5)
	s.Baseline = 5
	m.must(batch(g, s))
	m.commit(id, 5)
	return m.group(id)
}

func TestCreateGroupIsIdempotentByUUID(t *testing.T) {
	m := newMachine(t, 3)
	first := m.must(createG("g")).(Group)
	if first.State != StateInitialSync || first.Epoch != 1 || first.Owner != "n1" || first.Writer != "source/host1" {
		t.Fatalf("new group: %+v", first)
	}
	m.commit("g", 3)
	again := m.must(createG("g")).(Group)
	if again.Committed != (redoubt.Position{Epoch: 1, LSN: 3}) {
		t.Fatalf("the second creation did not return the group as it is: %+v", again)
	}
	other := createG("g")
	other.UUID = "another"
	m.refused(other, redoubt.ErrExists)
	same := createG("h")
	same.UUID = "uuid-g"
	m.refused(same, redoubt.ErrExists)
}

func TestOwnersSpread(t *testing.T) {
	m := newMachine(t, 3)
	load := map[redoubt.NodeID]int{}
	for i := range 30 {
		load[m.must(createG(fmt.Sprintf("g%d", i))).(Group).Owner]++
	}
	for n, c := range load {
		if c != 10 {
			t.Errorf("%s owns %d of 30 groups", n, c)
		}
	}
}

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	next := seg(g, 2, 11, 12)
	with := func(f func(*Segment)) CommitSegments { s := next; f(&s); return batch(g, s) }
	create := func(f func(*CreateGroup)) CreateGroup { c := createG("new"); f(&c); return c }
	for name, c := range map[string]Command{
		"node name":         PutNode{Node: NodeInfo{ID: "a/b", Addr: "x", Instance: "i"}},
		"node address":      PutNode{Node: NodeInfo{ID: "a", Instance: "i"}},
		"group name":        create(func(c *CreateGroup) { c.ID = ".." }),
		"no disks":          create(func(c *CreateGroup) { c.Disks = nil }),
		"disk twice":        create(func(c *CreateGroup) { c.Disks[1].ID = 1 }),
		"disk size":         create(func(c *CreateGroup) { c.Disks[1].Size = 513 }),
		"disk too large":    create(func(c *CreateGroup) { c.Disks[1].Size = redoubt.MaxDiskSize + 512 }),
		"no data shards":    create(func(c *CreateGroup) { c.K = 0 }),
		"too many shards":   create(func(c *CreateGroup) { c.K, c.M = 30, 3 }),
		"other disks":       UpdateGroup{Group: "g", Disks: []redoubt.Disk{{ID: 1, Name: "x", Size: 512}}},
		"no batches":        CommitSegments{},
		"segment order":     with(func(s *Segment) { s.Last = s.First - 1 }),
		"segment times":     with(func(s *Segment) { s.LastTime = s.FirstTime - 1 }),
		"one node twice":    with(func(s *Segment) { s.Nodes = []redoubt.NodeID{"n1", "n2", "n1"} }),
		"nodes and shards":  with(func(s *Segment) { s.Nodes = s.Nodes[:2] }),
		"too few durable":   with(func(s *Segment) { s.Stored = 4 }),
		"unknown shard":     with(func(s *Segment) { s.Stored = 15 }),
		"size":              with(func(s *Segment) { s.Size = 0 }),
		"shard size":        with(func(s *Segment) { s.ShardSize = 499 }),
		"head":              with(func(s *Segment) { s.HeadLen = 1001 }),
		"baseline":          with(func(s *Segment) { s.Baseline = 10 }),
		"no shards to note": ShardsStored{Node: "n1"},
		"kind of promotion": Promote{Group: "g", Kind: 9, Point: g.Committed, NewEpoch: 2},
		"receipt":           RecordReceipt{Group: "g", Receipt: Receipt{Epoch: 1, First: 5, Last: 4}},
		"operation":         SetState{Group: "g", Epoch: 1, Op: OpCommit},
		"another one":       Operate{Group: "g", Epoch: 1, Op: OpCommit},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.check(); c.kind() != kindUpdateGroup && !errors.Is(err, redoubt.ErrInvalid) {
				t.Errorf("check: %v", err)
			}
			m.t = t
			m.refused(c, redoubt.ErrInvalid)
		})
	}
	m.t = t
	m.refused(PutNode{Node: NodeInfo{ID: "n1", Addr: "x:1", Instance: "wiped"}}, redoubt.ErrExists)
	many := createG("wide")
	many.M = 2
	m.refused(many, redoubt.ErrUnavailable)
	for _, c := range []Command{UpdateGroup{Group: "no"}, SetOwner{Group: "no", Node: "n1", Term: 1}, SetOwner{Group: "g", Node: "no", Term: 1},
		Promote{Group: "no", Kind: PromoteUnplanned, Point: g.Committed, NewEpoch: 2}, CommitFailover{Group: "no"},
		CancelFailover{Group: "no", NewEpoch: 2}, ReverseReplicate{Group: "no"}, SetState{Group: "no", Op: OpPlannedFailover}, Operate{Group: "no", Op: OpPause}, EraseDone{Group: "no"},
		RecordReceipt{Group: "no", Receipt: Receipt{Epoch: 1}}, ShardsStored{Node: "n1", Shards: []ShardRef{{Group: "g", Epoch: 1, Ordinal: 2}}}} {
		m.refused(c, redoubt.ErrNotFound)
	}
}

func TestCommitIsContiguousAndFenced(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	answer := func(c CommitSegments) CommitResult { t.Helper(); return m.must(c).([]CommitResult)[0] }
	unchanged := func(c CommitSegments, want error) {
		t.Helper()
		before := m.image()
		r := answer(c)
		if !errors.Is(r.Err, want) {
			t.Fatalf("got %v, want %v", r.Err, want)
		}
		if !bytes.Equal(before, m.image()) {
			t.Fatal("a refused batch changed the catalog")
		}
	}
	unchanged(batch(g, seg(g, 2, 12, 13)), redoubt.ErrGap)
	unchanged(batch(g, seg(g, 3, 11, 13)), redoubt.ErrGap)
	unchanged(batch(g, seg(g, 1, 9, 11)), redoubt.ErrGap)                     // overlaps what is committed
	unchanged(batch(g, seg(g, 2, 11, 12), seg(g, 3, 14, 15)), redoubt.ErrGap) // a hole inside: nothing of it is taken
	early := seg(g, 2, 11, 12)
	early.FirstTime = 9999
	unchanged(batch(g, early), redoubt.ErrInvalid)
	strange := seg(g, 2, 11, 12)
	strange.Nodes = []redoubt.NodeID{"n1", "n2", "n9"}
	unchanged(batch(g, strange), redoubt.ErrNotFound)
	unchanged(batch(g, seg(g, 1, 6, 10)), nil) // a duplicate
	if r := answer(batch(g, seg(g, 1, 6, 10), seg(g, 2, 11, 12))); r.Err != nil || r.Committed.LSN != 12 {
		t.Fatalf("duplicate and new: %+v", r)
	}
	stale := g
	stale.OwnerTerm = 0
	unchanged(batch(stale, seg(g, 3, 13, 14)), redoubt.ErrFenced)
	m.must(SetOwner{Group: "g", Node: "n2", Term: 1})
	m.refused(SetOwner{Group: "g", Node: "n3", Term: 1}, redoubt.ErrFenced)
	unchanged(batch(g, seg(g, 3, 13, 14)), redoubt.ErrFenced) // the old owner
	g = m.group("g")
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 8}, NewEpoch: 2, Writer: "target/n1"})
	unchanged(batch(g, seg(g, 3, 13, 14)), redoubt.ErrFenced) // the old epoch
	n := m.group("g")
	if r := answer(batch(n, seg(n, 0, 9, 20))); r.Err != nil || r.Committed != (redoubt.Position{Epoch: 2, LSN: 20}) {
		t.Fatalf("new epoch: %+v", r)
	}
	mixed := m.must(CommitSegments{Batches: []SegmentBatch{
		{Group: "none", Epoch: 1, OwnerTerm: 1}, {Group: "g", Epoch: 2, OwnerTerm: 2, Segments: []Segment{seg(n, 1, 21, 22)}}}}).([]CommitResult)
	if !errors.Is(mixed[0].Err, redoubt.ErrNotFound) || mixed[1].Err != nil || mixed[1].Committed.LSN != 22 {
		t.Fatalf("batches must stand alone: %+v", mixed)
	}
}

func TestInitialSyncEndsByItself(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.group("g")
	s := seg(g, 0, 1, 10)
	s.Baseline = 12 // the copy ended here, but the source was at 12 already
	m.must(batch(g, s))
	if g = m.group("g"); g.State != StateInitialSync || g.Baseline != 12 {
		t.Fatalf("%s, baseline %d", g.State, g.Baseline)
	}
	m.operate("g", OpPause)
	m.commit("g", 2)
	m.operate("g", OpResume)
	if g = m.group("g"); g.State != StateProtected {
		t.Fatalf("whole at %v, but %s", g.Committed, g.State)
	}
}

func TestShardsStored(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.group("g")
	s := seg(g, 0, 1, 5)
	s.Stored = 3
	m.must(batch(g, s))
	ref := ShardRef{Group: "g", Epoch: 1, Ordinal: 0, Shard: 2}
	m.refused(ShardsStored{Node: "n1", Shards: []ShardRef{ref}}, redoubt.ErrInvalid)
	frozen := m.s.freeze()
	m.must(ShardsStored{Node: "n3", Shards: []ShardRef{ref}})
	stored := func(s *state) uint32 { return s.history("g", 1).at(0).stored }
	if stored(m.s) != 7 || stored(frozen) != 3 {
		t.Fatalf("stored %b, in the snapshot before it %b", stored(m.s), stored(frozen))
	}
	m.must(ShardsStored{Node: "n3", Lost: true, Shards: []ShardRef{ref}})
	if stored(m.s) != 3 {
		t.Fatalf("stored %b after the loss", stored(m.s))
	}
}
