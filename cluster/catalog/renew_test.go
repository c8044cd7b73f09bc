package catalog

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A group that takes the name of one whose points are deleted has nothing of it:
// its epochs and LSNs begin again, so a gap, a bookmark or a check of before would
// stand for its own points, and the journal of before for its source's.
func TestARenewedGroupHasNothingOfTheOld(t *testing.T) {
	m := newMachine(t, 3)
	m.refused(RenewGroup(createG("g")), redoubt.ErrNotFound)
	m.inGap("g")
	m.whole("g", 17)
	at := redoubt.Position{Epoch: 1, LSN: 9}
	m.must(AddMarks{Group: "g", Marks: []Bookmark{named(at, "before", redoubt.SetID{})}})
	m.must(PutCheck{Group: "g", Check: Check{ID: "c", Position: at, Time: 5, Script: "e2fsck", Node: "n1", Passed: true, RTO: 7, Receipt: []byte("{}")}})
	m.must(RecordVerification{Group: "g", Verification: Verification{At: at, Compared: true, Blocks: 9}})
	m.must(BindJournal{Group: "g", Epoch: 1, Journal: "journal-of-before"})
	m.must(BeginJob{Job: jobOne(), Kind: JobPlanned, By: "ann", Node: "n1", Epoch: 1, Now: 5})
	m.must(EndJob{Job: jobOne(), State: JobCancelled, Now: 6})
	c := RenewGroup(createG("g"))
	c.UUID, c.Source = "another", "host2"
	m.refused(c, redoubt.ErrExists)
	m.operate("g", OpUnprotect)
	g := m.operate("g", OpDeletePoints)
	m.refused(c, redoubt.ErrExists)
	for _, n := range m.s.nodeIDs() {
		m.must(EraseDone{Group: "g", UUID: "uuid-g", Erased: g.Epoch, Node: n})
	}
	g = m.must(c).(Group)
	if again := m.must(c).(Group); g.UUID != "another" || g.Epoch != 1 || g.State != StateInitialSync || again.UUID != g.UUID {
		t.Fatalf("renewed: %+v, %+v", g, again)
	}
	m.s = reload(t, m.s)
	if m.s.gaps["g"] != nil || m.s.marks["g"] != nil || m.s.checks["g"] != nil || m.s.verified["g"] != nil || m.s.bindings["g"] != (Binding{}) || m.s.jobs["g"] != nil {
		t.Errorf("of before: gaps %+v, bookmarks %+v, checks %+v, verifications %+v, journal %+v, jobs %+v",
			m.s.gaps["g"], m.s.marks["g"], m.s.checks["g"], m.s.verified["g"], m.s.bindings["g"], m.s.jobs["g"])
	}
	s := seg(g, 0, 1, 20)
	s.Baseline = 5
	m.must(batch(g, s))
	m.must(SetPin{Group: "g", Pin: Pin{Name: "p", Kind: PinOperator, Position: redoubt.Position{Epoch: 1, LSN: 14}}})
	m.must(BindJournal{Group: "g", Epoch: 1, Journal: "journal-of-now"})
}
