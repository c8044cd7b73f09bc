package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// designTable is the table of the design document, written down a second time.
const designTable = `
Unprotected: Protect
InitialSync: Pause Unprotect
Protected: Bookmark TestFailover PlannedFailover UnplannedFailover Pause Unprotect
Paused: Resume TestFailover UnplannedFailover Unprotect
ResyncRequired: Resynchronise TestFailover UnplannedFailover Pause
Resyncing: Resynchronise TestFailover UnplannedFailover Pause
FailingOver: Cancel
FailoverCommitPending: ChangeRecoveryPoint Commit Cancel
FailedOver: ReverseReplicate TestFailover
ReverseReplicating: PlannedFailover UnplannedFailover Pause`

func TestTableIsThatOfTheDesign(t *testing.T) {
	var b strings.Builder
	for _, s := range States() {
		b.WriteString("\n" + s.String() + ":")
		for _, tr := range Transitions(s) {
			b.WriteString(" " + tr.Op.String())
		}
	}
	if b.String() != designTable {
		t.Errorf("table:%s\ndesign:%s", b.String(), designTable)
	}
}

// inState brings group "g" into the state by operations; the two states that
// no operation leads to yet are set by hand.
func inState(m *machine, s State) Group {
	m.t.Helper()
	if s == StateInitialSync {
		m.must(createG("g"))
		return m.group("g")
	}
	g := m.protected("g")
	set := func(op Operation) { m.t.Helper(); m.must(SetState{Group: "g", Epoch: m.group("g").Epoch, Op: op}) }
	switch s {
	case StateUnprotected:
		set(OpUnprotect)
	case StatePaused:
		set(OpPause)
	case StateResyncRequired, StateResyncing:
		n := g
		n.State = s
		m.s.groups["g"] = &n
	case StateFailingOver:
		set(OpPlannedFailover)
	case StateFailoverCommitPending, StateFailedOver, StateReverseReplicating:
		m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 8}, NewEpoch: 2, Writer: "target/n2", Now: 77, KnownHead: 14})
		m.commit("g", 4)
		if s != StateFailoverCommitPending {
			m.must(CommitFailover{Group: "g", Epoch: 2})
		}
		if s == StateReverseReplicating {
			m.must(ReverseReplicate{Group: "g", Epoch: 2})
		}
	}
	return m.group("g")
}

// carryOut is the command that an operation comes down to; nil for operations
// that leave the catalog alone.
func carryOut(g Group, op Operation) Command {
	head := g.Committed
	switch op {
	case OpProtect, OpUnprotect, OpPause, OpResume, OpResynchronise:
		return SetState{Group: g.ID, Epoch: g.Epoch, Op: op}
	case OpPlannedFailover:
		if g.State == StateReverseReplicating {
			return Promote{Group: g.ID, Kind: PromoteFailback, Point: head, NewEpoch: g.Epoch + 1, Writer: "source/host1"}
		}
		return Promote{Group: g.ID, Kind: PromotePlanned, Point: head, NewEpoch: g.Epoch + 1, Writer: "target/n1"}
	case OpUnplannedFailover:
		w := "target/n1"
		if g.State == StateReverseReplicating {
			w = "source/host1"
		}
		return Promote{Group: g.ID, Kind: PromoteUnplanned, Point: head, NewEpoch: g.Epoch + 1, Writer: w}
	case OpChangeRecoveryPoint:
		return Promote{Group: g.ID, Kind: PromoteChange, Point: redoubt.Position{Epoch: 1, LSN: 6}, NewEpoch: g.Epoch + 1, Writer: "target/n1"}
	case OpCommit:
		return CommitFailover{Group: g.ID, Epoch: g.Epoch}
	case OpCancel:
		return CancelFailover{Group: g.ID, NewEpoch: g.Epoch + 1}
	case OpReverseReplicate:
		return ReverseReplicate{Group: g.ID, Epoch: g.Epoch}
	}
	return nil
}

func TestEveryStateWithEveryOperation(t *testing.T) {
	for _, s := range States() {
		for _, op := range Operations() {
			t.Run(fmt.Sprintf("%s/%s", s, op), func(t *testing.T) {
				m := newMachine(t, 3)
				g := inState(m, s)
				if g.State != s {
					t.Fatalf("set up as %s", g.State)
				}
				want, allowed := Allowed(s, op)
				if want == StateNone {
					want = StateProtected // in this test both Paused and FailingOver come from there
				}
				if want == StateInitialSync {
					want = StateProtected // its baseline is whole already
				}
				if slices.Contains(g.AllowedOperations(), op) != allowed {
					t.Fatalf("AllowedOperations says %v", g.AllowedOperations())
				}
				c := carryOut(g, op)
				switch {
				case c == nil: // Bookmark, TestFailover: the catalog is not involved
				case op == OpPlannedFailover && s == StateFailingOver:
					// Not an operation there, but the end of the job that is under way.
					if n := m.must(c).(Group); n.State != StateFailoverCommitPending {
						t.Errorf("now %s", n.State)
					}
				case !allowed:
					m.refused(c, redoubt.ErrState)
				default:
					if n := m.must(c).(Group); n.State != want {
						t.Errorf("now %s, the table says %s", n.State, want)
					}
				}
			})
		}
	}
}

func TestUnplannedFailoverAndFailback(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	p := func(e redoubt.Epoch, l redoubt.LSN) redoubt.Position { return redoubt.Position{Epoch: e, LSN: l} }
	promote := func(kind PromoteKind, at redoubt.Position, e redoubt.Epoch, w string) Promote {
		return Promote{Group: "g", Kind: kind, Point: at, NewEpoch: e, Writer: w, KnownHead: 13, KnownHeadTime: 5, LastContact: 6, Now: 7}
	}
	m.refused(promote(PromoteUnplanned, p(1, 11), 2, "target/n1"), redoubt.ErrInvalid) // not committed
	m.refused(promote(PromoteUnplanned, p(1, 4), 2, "target/n1"), redoubt.ErrInvalid)  // before the baseline
	m.refused(promote(PromoteUnplanned, p(2, 8), 2, "target/n1"), redoubt.ErrInvalid)  // no such epoch
	m.refused(promote(PromoteUnplanned, p(1, 8), 3, "target/n1"), redoubt.ErrInvalid)  // an epoch left out
	m.refused(promote(PromoteUnplanned, p(1, 8), 2, "target/n9"), redoubt.ErrInvalid)  // no such node
	m.refused(promote(PromoteUnplanned, p(1, 8), 2, "source/host1"), redoubt.ErrInvalid)
	m.refused(promote(PromotePlanned, p(1, 8), 2, "target/n1"), redoubt.ErrInvalid) // would lose writes
	m.refused(promote(PromoteFailback, p(1, 10), 2, "source/host1"), redoubt.ErrState)

	g := m.must(promote(PromoteUnplanned, p(1, 8), 2, "target/n1")).(Group)
	if g.State != StateFailoverCommitPending || g.Writer != "target/n1" || g.Committed != p(2, 8) || g.Promoted != p(1, 8) ||
		g.KnownHead != 13 || g.KnownHeadTime != 5 || g.LastContact != 6 || g.PromotedAt != 7 || g.Before != p(1, 10) || g.CommittedTime != 6000 {
		t.Fatalf("promoted: %+v", g)
	}
	m.refused(promote(PromoteUnplanned, p(1, 8), 2, "target/n1"), redoubt.ErrFenced) // the epoch is taken
	m.commit("g", 3)                                                                 // 2:9..11
	m.refused(promote(PromoteChange, p(2, 10), 3, "target/n2"), redoubt.ErrInvalid)  // not the source's history
	g = m.must(promote(PromoteChange, p(1, 10), 3, "target/n2")).(Group)
	if g.Committed != p(3, 10) || g.Before != p(1, 10) || g.KnownHead != 13 {
		t.Fatalf("changed: %+v", g)
	}
	m.commit("g", 10) // 3:11..20
	receipt := Receipt{Epoch: 1, First: 11, Last: 13, Writes: 3, Bytes: 12288}
	m.must(RecordReceipt{Group: "g", Receipt: receipt})
	m.must(CommitFailover{Group: "g", Epoch: 3})
	m.refused(promote(PromoteChange, p(1, 10), 4, "target/n2"), redoubt.ErrState)
	m.must(ReverseReplicate{Group: "g", Epoch: 3})
	m.refused(promote(PromoteFailback, p(3, 19), 4, "source/host1"), redoubt.ErrInvalid)
	m.refused(promote(PromoteFailback, p(3, 20), 4, "source/other"), redoubt.ErrInvalid)
	g = m.must(promote(PromoteFailback, p(3, 20), 4, "source/host1")).(Group)
	want := redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: 8}, {Epoch: 3, Parent: 1, At: 10}, {Epoch: 4, Parent: 3, At: 20}}
	if g.State != StateProtected || g.Writer != "source/host1" || !slices.Equal(g.Lineage, want) || g.Lineage.Validate() != nil {
		t.Fatalf("back: %+v", g)
	}
	// The second round: a point of an older epoch on the way is allowed, one of a branch is not.
	m.refused(promote(PromoteUnplanned, p(2, 10), 5, "target/n1"), redoubt.ErrInvalid)
	m.refused(promote(PromoteUnplanned, p(3, 21), 5, "target/n1"), redoubt.ErrInvalid)
	g = m.must(promote(PromoteUnplanned, p(3, 12), 5, "target/n1")).(Group)
	if f, _ := g.Lineage.Find(5); f != (redoubt.Fork{Epoch: 5, Parent: 3, At: 12}) || g.Receipt != nil {
		t.Fatalf("second failover: %+v", g)
	}
}

func TestCancelGivesTheGroupBack(t *testing.T) {
	m := newMachine(t, 3)
	inState(m, StateFailoverCommitPending)
	g := m.must(CancelFailover{Group: "g", NewEpoch: 3}).(Group)
	if f, _ := g.Lineage.Find(3); f != (redoubt.Fork{Epoch: 3, Parent: 1, At: 10}) || g.Writer != "source/host1" ||
		g.State != StateProtected || g.Committed != (redoubt.Position{Epoch: 3, LSN: 10}) || !g.Promoted.IsZero() {
		t.Fatalf("cancelled: %+v", g)
	}
	if n := m.s.history("g", 2).len(); n != 1 {
		t.Errorf("the abandoned epoch has %d segments, its writes must stay", n)
	}
	m.refused(CancelFailover{Group: "g", NewEpoch: 3}, redoubt.ErrFenced)
}

func TestPausedFailsOverAsBefore(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	m.must(SetState{Group: "g", Epoch: 1, Op: OpPause})
	g := m.group("g")
	if got := g.AllowedOperations(); !slices.Equal(got, []Operation{OpResume, OpUnprotect}) {
		t.Errorf("paused in the first copy: %v", got)
	}
	m.refused(carryOut(g, OpUnplannedFailover), redoubt.ErrState)

	m = newMachine(t, 3)
	inState(m, StateReverseReplicating)
	m.must(SetState{Group: "g", Epoch: 2, Op: OpPause})
	back := Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 2, LSN: 12}, NewEpoch: 3, Writer: "source/host1"}
	if g := m.must(back).(Group); g.State != StateProtected || g.Prior != StateNone {
		t.Errorf("paused on the way back: %+v", g)
	}
}

func TestStateNames(t *testing.T) {
	for _, s := range append(States(), StateNone) {
		b, _ := s.MarshalText()
		var back State
		if err := back.UnmarshalText(b); err != nil || back != s {
			t.Errorf("%s: %v, %v", b, back, err)
		}
	}
	var s State
	if err := s.UnmarshalText([]byte("Lost")); !errors.Is(err, redoubt.ErrInvalid) {
		t.Error(err)
	}
}
