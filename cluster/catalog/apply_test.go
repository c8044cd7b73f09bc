package catalog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func apply(t *testing.T, s *state, id ClientID, serial, floor uint64, c Command) (any, error) {
	t.Helper()
	o, err := decodeOutcome(s.apply(s.index+1, Envelope{Client: id, Serial: serial, Floor: floor, Cmd: c}))
	if err != nil {
		t.Fatal(err)
	}
	return o.value, o.err
}

func TestRetryGetsTheFirstAnswer(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	id := ClientID{9}
	c := Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 8}, NewEpoch: 2, Writer: "target/n1"}
	first, err := apply(t, m.s, id, 1, 1, c)
	if err != nil {
		t.Fatal(err)
	}
	m.commit("g", 4)
	again, err := apply(t, m.s, id, 1, 1, c)
	if err != nil || again.(Group).Committed != first.(Group).Committed {
		t.Fatalf("the retry got %+v, %v", again, err)
	}
	// Answers survive a snapshot, errors too.
	_, bad := apply(t, m.s, id, 2, 1, c)
	if !errors.Is(bad, redoubt.ErrFenced) || redoubt.Hint(bad) == "" {
		t.Fatal(bad)
	}
	s := reload(t, m.s)
	if _, err := apply(t, s, id, 1, 1, c); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if _, err := apply(t, s, id, 2, 1, c); err == nil || err.Error() != bad.Error() {
		t.Errorf("after a restart: %v, want %v", err, bad)
	}
	// Below the floor nothing is remembered, and nothing done.
	if _, err := apply(t, s, id, 3, 3, Operate{Group: "g", Epoch: 2, Op: OpPause}); !errors.Is(err, redoubt.ErrState) {
		t.Error(err)
	}
	if _, err := apply(t, s, id, 2, 2, CommitFailover{Group: "g", Epoch: 2}); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("stale serial: %v", err)
	}
	if g := s.groups["g"]; g.State != StateFailoverCommitPending {
		t.Errorf("a stale command was carried out: %s", g.State)
	}
}

func TestDedupeTableIsBounded(t *testing.T) {
	s := newState()
	put := PutNode{Node: NodeInfo{ID: "n1", Addr: "a:1", Instance: "i"}}
	for i := range maxClients + 50 {
		id := ClientID{byte(i), byte(i >> 8), 1}
		if _, err := apply(t, s, id, 1, 1, put); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.clients) != maxClients {
		t.Errorf("%d clients", len(s.clients))
	}
	if _, ok := s.clients[ClientID{0, 0, 1}]; ok {
		t.Error("the client that was silent longest is still there")
	}
	id := ClientID{7, 7, 7}
	for i := uint64(1); i <= 3*Window; i++ {
		if _, err := apply(t, s, id, i, max(i, 100)-99, put); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.clients[id].answers); n != 100 {
		t.Errorf("%d answers kept for 100 open proposals", n)
	}
	if _, err := apply(t, s, id, 10*Window, 3*Window, put); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("far ahead of the floor: %v", err)
	}
}

// reload passes the state through a snapshot.
func reload(t testing.TB, s *state) *state {
	t.Helper()
	var b bytes.Buffer
	if err := writeSnapshot(&b, s.freeze()); err != nil {
		t.Fatal(err)
	}
	out, err := readSnapshot(&b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEnvelopeDamageIsFound(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	raw := EncodeEnvelope(Envelope{Client: ClientID{1}, Serial: 5, Floor: 4, Cmd: batch(g, seg(g, 2, 11, 12))})
	for i := range raw {
		for _, bit := range []byte{1, 0x80} {
			b := bytes.Clone(raw)
			b[i] ^= bit
			if _, err := DecodeEnvelope(b); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
		if _, err := DecodeEnvelope(raw[:i]); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestSnapshotDamageIsFound(t *testing.T) {
	m := newMachine(t, 4)
	m.must(putPlan("p", "text"))
	m.must(startRun("p", 1, RunPlanned))
	inState(m, StateReverseReplicating)
	m.protected("h")
	m.must(DrainNode{ID: "n2"})
	m.must(PlanMoves{Moves: m.s.movePlan(alive, 9)})
	m.must(InviteNode{ID: "n9"})
	m.must(BeginJob{Job: JobRef{"h", 1}, Kind: JobPlanned, Node: "n1", Epoch: 1, By: "b"})
	m.protected("again")
	m.operate("again", OpUnprotect)
	m.operate("again", OpProtect)
	m.must(NoteDisks{Group: "again", OwnerTerm: 1, Events: []DiskEvent{{2, 11, redoubt.Disk{ID: 1, Size: 2 << 30}}}})
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.s.freeze()); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	for i := range raw {
		c := bytes.Clone(raw)
		c[i] ^= 1
		if _, err := readSnapshot(bytes.NewReader(c)); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if _, err := readSnapshot(bytes.NewReader(raw[:i])); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if err := NewStateMachine().Restore(bytes.NewReader(append(raw, 0))); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("bytes after the end: %v", err)
	}
}

func FuzzDecodeCommand(f *testing.F) {
	m := newMachine(f, 4)
	g := m.protected("g")
	m.must(putPlan("p", "old"))
	m.must(DrainNode{ID: "n1"})
	m.must(PlanMoves{Moves: m.s.movePlan(alive, 9)})
	for _, c := range []Command{PutNode{Node: NodeInfo{ID: "n", Addr: "a:1", Instance: "i"}}, createG("g"), RenewGroup(createG("g")), ForgetSets{}, UpdateGroup{Group: "g"},
		batch(g, seg(g, 2, 11, 12)), ShardsStored{Node: "n1", Shards: []ShardRef{{Group: "g"}}}, SetOwner{Group: "g", Node: "n1"},
		carryOut(g, OpUnplannedFailover), carryOut(g, OpCommit), carryOut(g, OpCancel), carryOut(g, OpReverseReplicate),
		carryOut(g, OpPause), EraseDone{Group: "g", UUID: "uuid-g", Erased: 2, Node: "n1"}, carryOut(g, OpUnprotect), ChangeDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{1, 11, redoubt.Disk{ID: 7, Name: "more", Size: 1 << 20}}}}, NoteDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{1, 11, redoubt.Disk{ID: 1, Size: 2 << 30}}}}, RecordReceipt{Group: "g"}, SetPolicy{Group: "g", Policy: DefaultPolicy()}, AdvanceClock{Group: "g", To: 9000},
		SetPin{Group: "g", Pin: Pin{Name: "p", Kind: PinHold, Position: redoubt.Position{Epoch: 1, LSN: 6}, Until: 1}}, RemovePin{Group: "g", Name: "p"},
		AddMarks{Group: "g", Marks: []Bookmark{{Position: redoubt.Position{Epoch: 1, LSN: 6}, Time: 5, Bookmark: redoubt.Bookmark{Name: "b", App: true, Set: redoubt.SetID{1}}}}},
		PutCheck{Group: "g", Check: Check{ID: "c", Position: redoubt.Position{Epoch: 1, LSN: 6}, Time: 5, Script: "e2fsck", Node: "n1", Passed: true, RTO: 7, Receipt: []byte("{}")}},
		CommitSet{Set{ID: redoubt.SetID{1}, Name: "b", Time: 5, Barrier: 7, Members: []SetMember{{"g", redoubt.Position{Epoch: 1, LSN: 6}}}}},
		rightPlan(m, m.aged("old")), AdvancePlan{Group: "old", OwnerTerm: 1, ID: 1, Open: []OpenPoint{{redoubt.Position{Epoch: 1, LSN: 6}, 1}}},
		ThinSegments{Group: "old", OwnerTerm: 1, Epoch: 1, ID: 1, Done: Work{Epoch: 1, To: 1}, Segments: []Replacement{{5, seg(g, 0, 1, 5)}}},
		ReportShards{Node: "n1", Lost: true, Shards: []ShardOf{{ShardRef{Group: "g", Epoch: 1}, 5}}}, nil,
		RecordVerification{Group: "g", Verification: Verification{At: redoubt.Position{Epoch: 1, LSN: 6}, Compared: true, Blocks: 9, Differing: 1, Extents: []DiskExtent{{1, redoubt.Extent{Len: 9}}}}},
		BeginResync{Group: "g", NewEpoch: 2, Now: 5}, RequireResync{Group: "g", Epoch: 1, Reason: "why", Now: 5}, BindJournal{Group: "g", Epoch: 1, Journal: "j"},
		OpenGap{Group: "g", Epoch: 1, OwnerTerm: g.OwnerTerm, After: g.Committed.LSN, Cause: GapOverflow, Now: 5},
		InviteNode{ID: "n4"}, AnnounceNode{Node: NodeInfo{ID: "n4", Addr: "a:1", Instance: "i"}, Domain: "d"}, ActivateNode{ID: "n4"},
		DrainNode{ID: "n1", Successor: "n2", Leave: true}, RemoveNode{ID: "n1", Force: true},
		LevelShards{Moves: []ShardMove{{ShardRef{Group: "g", Epoch: 1}, "n4"}}}, PlanMoves{Moves: []ShardMove{{ShardRef{Group: "g", Epoch: 1}, "n4"}}}, FinishMoves{Node: "n4", Shards: []ShardOf{{ShardRef{Group: "g", Epoch: 1}, 5}}}} {
		f.Add(EncodeEnvelope(Envelope{Serial: 1, Floor: 1, Cmd: c}))
	}
	for _, c := range append(jobCommands(g), recoverySeeds()...) {
		f.Add(EncodeEnvelope(Envelope{Serial: 1, Floor: 1, Cmd: c}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4 { // a right checksum lets the fuzzer in
			n := len(b) - 4
			e := encoder{b: bytes.Clone(b[:n])}
			e.u32(redoubt.Checksum(e.b))
			b = e.b
		}
		v, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		if again := EncodeEnvelope(v); !bytes.Equal(again, b) {
			t.Fatalf("decoded %x, encodes to %x", b, again)
		}
		s := reload(t, m.s)
		if _, err := decodeOutcome(s.apply(s.index+1, v)); err != nil {
			t.Fatal(err)
		}
		reload(t, s) // whatever was accepted can be stored
	})
}

func FuzzReadSnapshot(f *testing.F) {
	m := newMachine(f, 4)
	m.must(putPlan("p", "text"))
	m.must(startRun("p", 1, RunTest))
	inState(m, StateReverseReplicating)
	m.inGap("gap")
	m.must(rightPlan(m, m.aged("old")))
	m.must(DrainNode{ID: "n2"})
	m.must(PlanMoves{Moves: m.s.movePlan(alive, 9)})
	m.must(InviteNode{ID: "n9"})
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.s.freeze()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := readSnapshot(bytes.NewReader(fixSums(b)))
		if err == nil {
			reload(t, s)
		}
	})
}

// fixSums gives every record of a would-be snapshot its right checksum.
func fixSums(b []byte) []byte {
	b = bytes.Clone(b)
	pre := len(snapshotMagic) + 4
	if len(b) < pre {
		return b
	}
	crc := redoubt.Checksum(b[:pre])
	for at := pre; at+recordHead+4 <= len(b); {
		d := decoder{b: b[at+1:]}
		n := int(d.u32())
		if n > len(b)-at-recordHead-4 {
			break
		}
		end := at + recordHead + n
		crc = redoubt.ChecksumUpdate(crc, b[at:end])
		e := encoder{b: b[:end]}
		e.u32(crc)
		at = end + 4
	}
	return b
}

func FuzzDecodeOutcome(f *testing.F) {
	m := newMachine(f, 3)
	f.Add(outcome{value: m.protected("g")}.encode())
	f.Add(outcome{err: fail("a", "b", redoubt.ErrGap, "c")}.encode())
	f.Add(outcome{value: []CommitResult{{Group: "g"}, {Group: "h", Err: redoubt.ErrFenced}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := decodeOutcome(b); err == nil {
			if _, err := decodeOutcome(o.encode()); err != nil {
				t.Fatalf("%x: %v", b, err)
			}
		}
	})
}
