package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// designTable is the table of the design, written down a second time. A state
// in brackets takes the place of the one before it for a group that has points;
// "back" is the state that the group came from.
const designTable = `
Unprotected: Protect->InitialSync[Resyncing] TestFailover->Unprotected DeletePoints->Unprotected
InitialSync: Pause->Paused Unprotect->Unprotected
Protected: Bookmark->Protected TestFailover->Protected PlannedFailover->FailoverCommitPending UnplannedFailover->FailoverCommitPending Pause->Paused Unprotect->Unprotected Resynchronise->Resyncing
Paused: Resume->back TestFailover->Paused UnplannedFailover->FailoverCommitPending Unprotect->Unprotected
ResyncRequired: Resynchronise->Resyncing TestFailover->ResyncRequired UnplannedFailover->FailoverCommitPending Pause->Paused Unprotect->Unprotected
Resyncing: Resynchronise->Resyncing TestFailover->Resyncing UnplannedFailover->FailoverCommitPending Pause->Paused Unprotect->Unprotected
FailingOver: TestFailover->FailingOver Cancel->back
FailoverCommitPending: TestFailover->FailoverCommitPending ChangeRecoveryPoint->FailoverCommitPending Commit->FailedOver Cancel->back
FailedOver: ReverseReplicate->ReverseReplicating TestFailover->FailedOver
ReverseReplicating: TestFailover->ReverseReplicating PlannedFailover->Protected UnplannedFailover->Protected Pause->Paused`

func TestTableIsThatOfTheDesign(t *testing.T) {
	var b strings.Builder
	for _, s := range States() {
		b.WriteString("\n" + s.String() + ":")
		for _, tr := range Transitions(s) {
			next := tr.Next.String()
			if tr.Next == StateNone {
				next = "back"
			}
			b.WriteString(" " + tr.Op.String() + "->" + next)
			if tr.WithPoints != StateNone {
				b.WriteString("[" + tr.WithPoints.String() + "]")
			}
		}
	}
	if b.String() != designTable {
		t.Errorf("table:%s\ndesign:%s", b.String(), designTable)
	}
}

// situation is a state as a group can be in it.
type situation struct {
	name   string
	state  State
	under  State // where Resume and Cancel lead
	points bool
	build  func(m *machine)
}

// situations are all states, each in the ways to it that make a difference.
func situations() []situation {
	op := func(ops ...Operation) func(m *machine) {
		return func(m *machine) {
			for _, o := range ops {
				m.operate("g", o)
			}
		}
	}
	first := func(next func(m *machine)) func(m *machine) {
		return func(m *machine) { m.t.Helper(); m.must(createG("g")); m.commit("g", 3); next(m) }
	}
	whole := func(next func(m *machine)) func(m *machine) {
		return func(m *machine) { m.t.Helper(); m.protected("g"); next(m) }
	}
	forced := func(s State) func(m *machine) { // nothing that the catalog knows of leads to it
		return func(m *machine) { n := m.group("g"); n.State = s; m.s.groups["g"] = &n }
	}
	failOver := func(m *machine) {
		m.t.Helper()
		g := m.group("g")
		m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 8}, NewEpoch: g.Epoch + 1, Writer: "target/n2", Now: 77, KnownHead: 14})
		m.commit("g", 4)
	}
	committed := func(m *machine) {
		m.t.Helper()
		failOver(m)
		m.must(CommitFailover{Group: "g", Epoch: m.group("g").Epoch})
	}
	reverse := func(m *machine) {
		m.t.Helper()
		committed(m)
		m.must(ReverseReplicate{Group: "g", Epoch: m.group("g").Epoch})
	}
	then := func(fs ...func(m *machine)) func(m *machine) {
		return func(m *machine) {
			m.t.Helper()
			for _, f := range fs {
				f(m)
			}
		}
	}
	job := func(m *machine) {
		m.t.Helper()
		m.must(SetState{Group: "g", Epoch: m.group("g").Epoch, Op: OpPlannedFailover})
	}
	return []situation{
		{"new", StateInitialSync, 0, false, first(op())},
		{"whole", StateProtected, 0, true, whole(op())},
		{"in the first copy", StatePaused, StateInitialSync, false, first(op(OpPause))},
		{"in peace", StatePaused, StateProtected, true, whole(op(OpPause))},
		{"while it copies again", StatePaused, StateResyncing, true, whole(op(OpUnprotect, OpProtect, OpPause))},
		{"on the way back", StatePaused, StateReverseReplicating, true, whole(then(reverse, op(OpPause)))},
		{"with points", StateUnprotected, 0, true, whole(op(OpUnprotect))},
		{"before the first point", StateUnprotected, 0, false, first(op(OpUnprotect))},
		{"out of a pause", StateUnprotected, 0, true, whole(op(OpPause, OpUnprotect))},
		{"without points", StateUnprotected, 0, false, whole(op(OpUnprotect, OpDeletePoints))},
		{"again with points", StateResyncing, 0, true, whole(op(OpUnprotect, OpProtect))},
		{"again without points", StateInitialSync, 0, false, whole(op(OpUnprotect, OpDeletePoints, OpProtect))},
		{"journal lost", StateResyncRequired, 0, true, whole(forced(StateResyncRequired))},
		{"by comparison", StateResyncing, 0, true, whole(forced(StateResyncing))},
		{"by a job", StateFailingOver, StateProtected, true, whole(job)},
		{"back by a job", StateFailingOver, StateReverseReplicating, true, whole(then(reverse, job))},
		{"unplanned", StateFailoverCommitPending, StateProtected, true, whole(failOver)},
		{"out of a pause", StateFailoverCommitPending, StateProtected, true, whole(then(op(OpPause), failOver))},
		{"while it copied again", StateFailoverCommitPending, StateResyncing, true, whole(then(op(OpUnprotect, OpProtect), failOver))},
		{"committed", StateFailedOver, 0, true, whole(committed)},
		{"back to the source", StateReverseReplicating, 0, true, whole(reverse)},
	}
}

// operate carries out an operation that has no command of its own.
func (m *machine) operate(id string, op Operation) Group {
	m.t.Helper()
	return m.must(Operate{Group: redoubt.GroupID(id), Epoch: m.group(id).Epoch, Op: op, By: "operator/ann", Reason: "for a test", Now: 99}).(Group)
}

// inState brings group "g" into the state, in the first way that there is.
func inState(m *machine, s State) Group {
	m.t.Helper()
	for _, sit := range situations() {
		if sit.state == s {
			sit.build(m)
			return m.group("g")
		}
	}
	m.t.Fatalf("nothing leads to %s", s)
	return Group{}
}

// wanted is what the table says of op in the situation.
func wanted(sit situation, op Operation) (next State, allowed bool) {
	find := func(s State) (Transition, bool) {
		for _, tr := range Transitions(s) {
			if tr.Op == op {
				return tr, true
			}
		}
		return Transition{}, false
	}
	tr, ok := find(sit.state)
	opens := op == OpTestFailover || op == OpUnplannedFailover || op == OpPlannedFailover
	if !ok || opens && !sit.points {
		return 0, false
	}
	if sit.state == StatePaused && op != OpResume {
		under, ok := find(sit.under)
		if !ok {
			return 0, false
		}
		if op != OpTestFailover {
			tr = under
		}
	}
	switch {
	case tr.Next == StateNone:
		return sit.under, true
	case tr.WithPoints != StateNone && sit.points:
		return tr.WithPoints, true
	}
	return tr.Next, true
}

// carryOut is the command that an operation comes down to; nil for operations
// that leave the catalog alone.
func carryOut(g Group, op Operation) Command {
	head := g.Committed
	back := g.State == StateReverseReplicating || g.Prior == StateReverseReplicating
	switch op {
	case OpProtect, OpUnprotect, OpPause, OpResume, OpDeletePoints:
		return Operate{Group: g.ID, Epoch: g.Epoch, Op: op, By: "operator/ann", Now: 5}
	case OpResynchronise:
		return BeginResync{Group: g.ID, NewEpoch: g.Epoch + 1, Now: 5}
	case OpPlannedFailover:
		if back {
			return Promote{Group: g.ID, Kind: PromoteFailback, Point: head, NewEpoch: g.Epoch + 1, Writer: "source/host1"}
		}
		return Promote{Group: g.ID, Kind: PromotePlanned, Point: head, NewEpoch: g.Epoch + 1, Writer: "target/n1"}
	case OpUnplannedFailover:
		if back {
			return Promote{Group: g.ID, Kind: PromoteUnplanned, Point: head, NewEpoch: g.Epoch + 1, Writer: "source/host1"}
		}
		return Promote{Group: g.ID, Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 8}, NewEpoch: g.Epoch + 1, Writer: "target/n1"}
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

// Every state, each in all ways that make a difference, with every operation:
// what the table allows leads where the table says, anything else is refused
// with ErrState and a hint, and changes no byte of the catalog.
func TestEveryStateWithEveryOperation(t *testing.T) {
	seen := map[State]bool{}
	for _, sit := range situations() {
		seen[sit.state] = true
		for _, op := range Operations() {
			t.Run(fmt.Sprintf("%s %s/%s", sit.state, sit.name, op), func(t *testing.T) { tryOperation(t, sit, op) })
		}
	}
	for _, s := range States() {
		if !seen[s] {
			t.Errorf("no situation is %s", s)
		}
	}
}

func tryOperation(t *testing.T, sit situation, op Operation) {
	m := newMachine(t, 3)
	sit.build(m)
	g := m.group("g")
	if g.State != sit.state || g.Prior != sit.under || (g.Baseline != 0) != sit.points {
		t.Fatalf("set up as %s under %s, baseline %d", g.State, g.Prior, g.Baseline)
	}
	want, allowed := wanted(sit, op)
	if slices.Contains(g.AllowedOperations(), op) != allowed {
		t.Fatalf("AllowedOperations says %v", g.AllowedOperations())
	}
	err := g.Permits(op)
	if (err == nil) != allowed || err != nil && (!errors.Is(err, redoubt.ErrState) || !strings.Contains(redoubt.Hint(err), "allowed now")) {
		t.Fatalf("Permits: %v, hint %q", err, redoubt.Hint(err))
	}
	c := carryOut(g, op)
	switch {
	case c == nil: // Bookmark, TestFailover: the catalog is not involved
	case op == OpPlannedFailover && sit.state == StateFailingOver:
		// Not an operation there, but the end of the job that is under way.
		end, _ := Allowed(sit.under, op)
		if n := m.must(c).(Group); n.State != end {
			t.Errorf("the job ended in %s, want %s", n.State, end)
		}
	case !allowed:
		m.refused(c, redoubt.ErrState)
	default:
		before := m.image()
		if n := m.must(c).(Group); n.State != want {
			t.Errorf("now %s, the table says %s", n.State, want)
		}
		if bytes.Equal(before, m.image()) {
			t.Error("nothing changed")
		}
		if s := reload(t, m.s); s.groups["g"].State != want {
			t.Errorf("after a restart %s", s.groups["g"].State)
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

// What is committed between the question of how far the writer is and the
// promotion is known, too, with its own time: not that of the older write.
func TestKnownHeadIsThatOfTheLastCommit(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	before := m.group("g")
	g := m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: before.Committed, NewEpoch: 2, Writer: "target/n1",
		KnownHead: 7, KnownHeadTime: 5, LastContact: 6, Now: 7}).(Group)
	if g.KnownHead != before.Committed.LSN || g.KnownHeadTime != before.CommittedTime || g.LastContact != before.CommittedTime {
		t.Fatalf("known %d at %d, heard at %d; committed %s at %d", g.KnownHead, g.KnownHeadTime, g.LastContact, before.Committed, before.CommittedTime)
	}
}

// What is refused says which commands can be given.
func TestRefusalsNameCommands(t *testing.T) {
	for s, want := range map[State]string{
		StateFailoverCommitPending: "allowed now, as redoubt COMMAND g: failover test, failover change, failover commit, failover cancel",
		StateFailedOver:            "allowed now, as redoubt COMMAND g: reverse, failover test",
		StateReverseReplicating:    "allowed now, as redoubt COMMAND g: failover test, failback, group pause",
	} {
		m := newMachine(t, 3)
		inState(m, s)
		g := m.group("g")
		if err := g.Permits(OpResume); redoubt.Hint(err) != want || !strings.HasPrefix(err.Error(), "group resume of group g: the group is "+s.String()) {
			t.Errorf("%s: %v; hint %q", s, err, redoubt.Hint(err))
		}
	}
}

func TestPausedFailsOverAsBefore(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.operate("g", OpPause)
	if got := g.AllowedOperations(); !slices.Equal(got, []Operation{OpResume, OpUnprotect}) {
		t.Errorf("paused in the first copy: %v", got)
	}
	m.refused(carryOut(g, OpUnplannedFailover), redoubt.ErrState)

	m = newMachine(t, 3)
	inState(m, StateReverseReplicating)
	m.operate("g", OpPause)
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
