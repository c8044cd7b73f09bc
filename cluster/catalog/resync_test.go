package catalog

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A lost journal makes the group ResyncRequired; the resynchronisation begins
// an epoch in which there is no point until its baseline, and older ones stay.
func TestResync(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.must(BindJournal{Group: "g", Epoch: 1, Journal: "j1"})
	m.must(BindJournal{Group: "g", Epoch: 1, Journal: "j1"})
	m.refused(BindJournal{Group: "g", Epoch: 1, Journal: "j2"}, redoubt.ErrExists)
	m.refused(RequireResync{Group: "g", Epoch: 2, Reason: "why"}, redoubt.ErrInvalid)
	m.must(RequireResync{Group: "g", Epoch: 1, Reason: "why", Now: 5})
	m.must(RequireResync{Group: "g", Epoch: 1, Reason: "another", Now: 6})
	m.s = reload(t, m.s)
	if g, b := m.group("g"), m.s.bindings["g"]; g.State != StateResyncRequired || b != (Binding{"j1", "why", 5}) {
		t.Fatalf("%s, %+v", g.State, b)
	}
	m.refused(BeginResync{Group: "g", NewEpoch: 3}, redoubt.ErrInvalid)
	m.must(BeginResync{Group: "g", NewEpoch: 2, Now: 7})
	g := m.group("g")
	if b := m.s.bindings["g"]; g.State != StateResyncing || g.Epoch != 2 || g.Writer != "source/host1" || m.visible("g") != at(1, 10) || b != (Binding{}) {
		t.Fatalf("%+v, visible %s, %+v", g, m.visible("g"), b)
	}
	m.must(BindJournal{Group: "g", Epoch: 2, Journal: "j2"})
	m.commit("g", 5)
	promote := Promote{Group: "g", Kind: PromoteUnplanned, Point: at(2, 12), NewEpoch: 3, Writer: "target/n2"}
	m.refused(promote, redoubt.ErrNotFound)
	if m.visible("g") != at(1, 10) {
		t.Fatalf("visible %s", m.visible("g"))
	}

	// It is lost again: the next one begins inside the gap.
	m.must(RequireResync{Group: "g", Epoch: 2, Reason: "again", Now: 8})
	m.must(BeginResync{Group: "g", NewEpoch: 3, Now: 9})
	m.commit("g", 2)
	m.s = reload(t, m.s)
	if m.visible("g") != at(1, 10) {
		t.Fatalf("visible %s", m.visible("g"))
	}
	m.whole("g", 18)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != at(3, 19) || len(m.s.gaps["g"]) != 2 || m.s.gaps["g"][1].Cause != GapResync {
		t.Fatalf("%s, visible %s, %+v", g.State, m.visible("g"), m.s.gaps["g"])
	}
	promote.NewEpoch = 4
	m.refused(promote, redoubt.ErrNotFound) // of the epoch that never was whole
	promote.Point = at(1, 10)
	m.must(promote)
}

// A protected group whose disks were found to differ is resynchronised from
// there: the points of before stay, and the next one comes with the baseline.
func TestResyncOfAProtectedGroup(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.must(BindJournal{Group: "g", Epoch: 1, Journal: "j1"})
	m.must(BeginResync{Group: "g", NewEpoch: 2, Now: 7})
	m.refused(BeginResync{Group: "g", NewEpoch: 2, Now: 7}, redoubt.ErrFenced) // told twice
	g := m.group("g")
	if g.State != StateResyncing || g.Epoch != 2 || g.Writer != "source/host1" || m.visible("g") != at(1, 10) || m.s.bindings["g"] != (Binding{}) {
		t.Fatalf("%+v, visible %s, %+v", g, m.visible("g"), m.s.bindings["g"])
	}
	m.must(BindJournal{Group: "g", Epoch: 2, Journal: "j1"})
	m.commit("g", 4)
	m.refused(Promote{Group: "g", Kind: PromotePlanned, Point: m.group("g").Committed, NewEpoch: 3, Writer: "target/n2"}, redoubt.ErrState)
	m.s = reload(t, m.s)
	m.whole("g", 16)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != g.Committed {
		t.Fatalf("%s, visible %s of %s", g.State, m.visible("g"), g.Committed)
	}
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: at(1, 8), NewEpoch: 3, Writer: "target/n2"})
}

// The gap of a group that is protected again and that of a resynchronisation
// meanwhile end with one baseline; points of before stay all the time.
func TestResyncOfAGroupProtectedAgain(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.operate("g", OpUnprotect)
	m.operate("g", OpProtect)
	m.commit("g", 2)
	m.must(BeginResync{Group: "g", NewEpoch: 3, Now: 7})
	m.commit("g", 2)
	m.s = reload(t, m.s)
	for _, p := range []redoubt.Position{at(2, 12), at(3, 13)} {
		m.refused(Promote{Group: "g", Kind: PromoteUnplanned, Point: p, NewEpoch: 4, Writer: "target/n2"}, redoubt.ErrNotFound)
	}
	if g := m.group("g"); g.State != StateResyncing {
		t.Fatal(g.State)
	}
	m.whole("g", 16)
	if g := m.group("g"); g.State != StateProtected || m.visible("g") != g.Committed || m.s.standing("g").Gap {
		t.Fatalf("%s, visible %s of %s", g.State, m.visible("g"), g.Committed)
	}
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: m.group("g").Committed, NewEpoch: 4, Writer: "target/n2"})
}

// Under a pause the group is ResyncRequired when it goes on; while another side
// writes it does not become so.
func TestResyncAndOtherStates(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.operate("g", OpPause)
	m.must(RequireResync{Group: "g", Epoch: 1, Reason: "why"})
	if g := m.group("g"); g.State != StatePaused || g.Prior != StateResyncRequired {
		t.Fatalf("%s, %s", g.State, g.Prior)
	}
	m.operate("g", OpResume)
	if g := m.group("g"); g.State != StateResyncRequired {
		t.Fatal(g.State)
	}
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: at(1, 10), NewEpoch: 2, Writer: "target/n1"})
	m.refused(RequireResync{Group: "g", Epoch: 2, Reason: "why"}, redoubt.ErrState)
	m.refused(BeginResync{Group: "g", NewEpoch: 3}, redoubt.ErrState)
}

// A source that loses its journal during the first copy begins anew; what it
// has shipped is compared, too.
func TestResyncOfTheFirstCopy(t *testing.T) {
	m := newMachine(t, 3)
	m.must(createG("g"))
	m.commit("g", 4)
	m.must(RequireResync{Group: "g", Epoch: 1, Reason: "why"})
	m.must(BeginResync{Group: "g", NewEpoch: 2})
	m.commit("g", 2)
	m.whole("g", 8)
	if g := m.group("g"); g.State != StateProtected || g.Baseline != 8 || len(m.s.gaps["g"]) != 0 {
		t.Fatalf("%+v, %+v", g, m.s.gaps["g"])
	}
}

func TestVerificationsAreKept(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	v := Verification{At: at(1, 9), Started: 1, Finished: 2, Compared: true, By: "source/host1", Blocks: 10, Moved: 2, Unsettled: 1, Differing: 1, Passes: 2,
		Extents: []DiskExtent{{1, redoubt.Extent{Off: 4096, Len: 4096}}}}
	m.refused(RecordVerification{Group: "g", Verification: Verification{At: at(2, 9), Finished: 1}}, redoubt.ErrInvalid)
	m.refused(RecordVerification{Group: "no", Verification: v}, redoubt.ErrNotFound)
	for i := range KeptVerifications + 5 {
		v.Root[0] = byte(i)
		m.must(RecordVerification{Group: "g", Verification: v})
	}
	m.s = reload(t, m.s)
	got := m.s.verified["g"]
	if len(got) != KeptVerifications || got[0].Root[0] != 5 || got[len(got)-1].Blocks != 10 || got[0].Extents[0] != v.Extents[0] {
		t.Fatalf("%d are kept: %+v", len(got), got)
	}
}
