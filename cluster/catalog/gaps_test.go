package catalog

import (
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

func at(e redoubt.Epoch, l redoubt.LSN) redoubt.Position { return redoubt.Position{Epoch: e, LSN: l} }

// inGap is a protected group (ten writes) with an open gap after them and one
// segment of five in it.
func (m *machine) inGap(id string) Group {
	m.t.Helper()
	g := m.protected(id)
	m.must(OpenGap{Group: g.ID, Epoch: g.Epoch, OwnerTerm: g.OwnerTerm, After: g.Committed.LSN, Cause: GapOverflow, Now: 7})
	m.commit(id, 5)
	return m.group(id)
}

// whole commits a segment of two writes which says that the disks are whole from LSN l on.
func (m *machine) whole(id string, l redoubt.LSN) {
	m.t.Helper()
	g := m.group(id)
	s := seg(g, m.s.history(g.ID, g.Epoch).len(), g.Committed.LSN+1, g.Committed.LSN+2)
	s.Baseline = l
	m.must(batch(g, s))
}

func (m *machine) visible(id string) redoubt.Position {
	g := m.group(id)
	return Visible(m.s.gaps[g.ID], g.Lineage.Path(g.Committed))
}

func TestGapHidesUntilItIsWhole(t *testing.T) {
	m := newMachine(t, 3)
	g := m.inGap("g")
	if g.State != StateResyncing || m.visible("g") != at(1, 10) {
		t.Fatalf("%s, visible %s", g.State, m.visible("g"))
	}
	promote := func(l redoubt.LSN) Command {
		return Promote{Group: "g", Kind: PromoteUnplanned, Point: at(1, l), NewEpoch: 2, Writer: "target/n2"}
	}
	pin := func(l redoubt.LSN) Command {
		return SetPin{Group: "g", Pin: Pin{Name: "p", Kind: PinOperator, Position: at(1, l)}}
	}
	for _, l := range []redoubt.LSN{11, 15} {
		m.refused(promote(l), redoubt.ErrNotFound)
		m.refused(pin(l), redoubt.ErrNotFound)
	}
	m.whole("g", 18) // committed 17: the first point is still to come
	if g := m.group("g"); g.State != StateResyncing || m.visible("g") != at(1, 10) {
		t.Fatalf("before the first point: %s, visible %s", g.State, m.visible("g"))
	}
	m.refused(promote(17), redoubt.ErrNotFound)
	m.commit("g", 3)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != at(1, 20) {
		t.Fatalf("behind the gap: %s, visible %s", g.State, m.visible("g"))
	}
	m.refused(promote(17), redoubt.ErrNotFound)
	m.must(pin(18))
	m.must(pin(18))
	m.s = reload(t, m.s)
	m.refused(promote(17), redoubt.ErrNotFound)
	m.must(promote(10))
}

func TestGapOpensOnceAndOnlyWhereItIsTrue(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	open := OpenGap{Group: "g", Epoch: 1, OwnerTerm: g.OwnerTerm, After: 9, Cause: GapOverflow, Now: 7}
	m.refused(open, redoubt.ErrGap)
	open.After, open.OwnerTerm = 10, g.OwnerTerm+1
	m.refused(open, redoubt.ErrFenced)
	open.OwnerTerm--
	m.must(open)
	m.commit("g", 3)
	m.must(open) // it is open already
	if gaps := m.s.gaps["g"]; len(gaps) != 1 || gaps[0].After != 10 || gaps[0].Since != 10_000 {
		t.Fatalf("%+v", gaps)
	}
}

// Everything may come in one segment.
func TestGapOfOneSegment(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	m.must(OpenGap{Group: "g", Epoch: 1, OwnerTerm: g.OwnerTerm, After: 10, Cause: GapOverflow, Now: 7})
	m.whole("g", 12)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != at(1, 12) {
		t.Fatalf("%s, visible %s", g.State, m.visible("g"))
	}
	m.refused(Promote{Group: "g", Kind: PromoteUnplanned, Point: at(1, 11), NewEpoch: 2, Writer: "target/n2"}, redoubt.ErrNotFound)
}

// A cancelled failover goes on inside of the gap.
func TestGapOutlivesACancelledFailover(t *testing.T) {
	m := newMachine(t, 3)
	m.inGap("g")
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: at(1, 10), NewEpoch: 2, Writer: "target/n2", KnownHead: 15})
	if got := m.visible("g"); got != at(1, 10) {
		t.Fatalf("promoted at %s", got)
	}
	m.commit("g", 4)
	if got := m.visible("g"); got != at(2, 14) {
		t.Fatalf("the exporting node's writes: %s", got)
	}
	g := m.must(CancelFailover{Group: "g", NewEpoch: 3}).(Group)
	if g.State != StateResyncing || g.Committed != at(3, 15) || m.visible("g") != at(1, 10) {
		t.Fatalf("%s at %s, visible %s", g.State, g.Committed, m.visible("g"))
	}
	m.refused(Promote{Group: "g", Kind: PromoteUnplanned, Point: at(3, 15), NewEpoch: 4, Writer: "target/n2"}, redoubt.ErrNotFound)
	m.commit("g", 5)
	m.whole("g", 21)
	m.commit("g", 2)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != g.Committed {
		t.Fatalf("%s at %s, visible %s", g.State, g.Committed, m.visible("g"))
	}
}

// While the first copy is under way there is no point anyway: nothing is left
// of a gap when it is whole.
func TestGapOfTheFirstCopy(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.group("g")
	m.must(OpenGap{Group: "g", Epoch: 1, OwnerTerm: g.OwnerTerm, Cause: GapOverflow, Now: 7})
	m.commit("g", 4)
	m.whole("g", 5)
	g = m.group("g")
	if g.State != StateProtected || g.Baseline != 5 || len(m.s.gaps["g"]) != 0 {
		t.Fatalf("%s, baseline %d, gaps %+v", g.State, g.Baseline, m.s.gaps["g"])
	}
}

// Retention reckons with points only: what a gap hides can neither be demanded
// nor stand in for the last point before it.
func TestPlanAroundAGap(t *testing.T) {
	m := newMachine(t, 3)
	g := m.aged("g")
	// As if the writes 196 to 405 (minutes 19:30 to 40:30) had been a gap.
	m.s.addGap("g", Gap{Epoch: 1, After: 195, Whole: 406, Cause: GapOverflow})
	p := rightPlan(m, g)
	p.Changes[0].Keep = nil
	for _, k := range rightPlan(m, g).Changes[0].Keep {
		if k.LSN < 195 || k.LSN >= 406 {
			p.Changes[0].Keep = append(p.Changes[0].Keep, k)
		}
	}
	m.refused(p, redoubt.ErrInvalid) // 190, the last whole segment of the ten minutes, has no follower now
	keep := Kept{LSN: 190, Time: (18*60 + 54) * second}
	kept := p.Changes[0].Keep
	p.Changes[0].Keep = nil
	for i, k := range kept {
		if keep.LSN != 0 && k.LSN > keep.LSN {
			p.Changes[0].Keep = append(p.Changes[0].Keep, keep)
			keep.LSN = 0
		}
		p.Changes[0].Keep = append(p.Changes[0].Keep, kept[i])
	}
	if keep.LSN != 0 {
		p.Changes[0].Keep = append(p.Changes[0].Keep, keep)
	}
	m.must(p)
	if time.Duration(g.CommittedTime) < time.Hour-time.Minute {
		t.Fatal("the history is shorter than the test thinks")
	}
}
