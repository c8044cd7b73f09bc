package catalog

import (
	"errors"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func TestAPauseSaysWhoAndWhy(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	g := m.operate("g", OpPause)
	if st := m.s.standing("g"); st.By != "operator/ann" || st.Reason != "for a test" || st.Since != 99 {
		t.Errorf("paused: %+v", st)
	}
	if !g.Held() {
		t.Error("the source goes on shipping")
	}
	m.refused(Operate{Group: "g", Epoch: 2, Op: OpResume}, redoubt.ErrInvalid)
	if g = m.operate("g", OpResume); g.Held() || m.s.standing("g").By != "" {
		t.Errorf("resumed: %+v, %+v", g, m.s.standing("g"))
	}
	m = newMachine(t, 3)
	inState(m, StateReverseReplicating)
	if g = m.operate("g", OpPause); g.Held() {
		t.Error("the way back is paused, and the history is held too")
	}
}

// Protected again with its points kept: those from before stay, those of the
// copy do not exist, and what comes after it does.
func TestProtectAgainLeavesAGap(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g") // points 1:5 to 1:10
	m.operate("g", OpUnprotect)
	if r := m.must(batch(m.group("g"), seg(m.group("g"), 2, 11, 12))).([]CommitResult)[0]; !errors.Is(r.Err, redoubt.ErrState) {
		t.Fatalf("an unprotected group took a segment: %v", r.Err)
	}
	g := m.operate("g", OpProtect)
	if g.State != StateResyncing || g.Epoch != 2 || g.Committed != (redoubt.Position{Epoch: 2, LSN: 10}) || g.Writer != "source/host1" || m.s.standing("g").Anew != 2 {
		t.Fatalf("again: %+v, %+v", g, m.s.standing("g"))
	}
	point := func(want bool, e redoubt.Epoch, l redoubt.LSN) {
		t.Helper()
		if got := m.s.retention("g").Has(redoubt.Position{Epoch: e, LSN: l}); got != want {
			t.Errorf("point %d:%d: %v", e, l, got)
		}
	}
	m.commit("g", 10) // 2:11..20
	point(true, 1, 10)
	point(false, 2, 15)
	m.refused(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 2, LSN: 15}, NewEpoch: 3, Writer: "target/n1"}, redoubt.ErrNotFound)

	// A failover and its cancellation in the middle of the copy: it goes on.
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 9}, NewEpoch: 3, Writer: "target/n1"})
	m.commit("g", 2)
	point(true, 3, 11)
	g = m.must(CancelFailover{Group: "g", NewEpoch: 4}).(Group)
	if g.State != StateResyncing || g.Committed != (redoubt.Position{Epoch: 4, LSN: 20}) {
		t.Fatalf("cancelled: %+v", g)
	}
	m.commit("g", 5) // 4:21..25
	point(false, 4, 22)

	s := seg(m.group("g"), 1, 26, 30)
	s.Baseline = 33
	m.must(batch(m.group("g"), s))
	if g = m.group("g"); g.State != StateResyncing {
		t.Fatalf("whole at 33, at %s it is %s", g.Committed, g.State)
	}
	m.s = reload(t, m.s)
	m.commit("g", 10)
	if g = m.group("g"); g.State != StateProtected || g.Baseline != 5 || m.s.standing("g").Gap {
		t.Fatalf("whole: %+v", g)
	}
	point(false, 4, 32)
	point(true, 4, 33)
	point(true, 1, 7)
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 7}, NewEpoch: 5, Writer: "target/n1"})
}

func TestDeletingPointsDeletesAllOfThem(t *testing.T) {
	m := newMachine(t, 4)
	inState(m, StateReverseReplicating)
	m.must(Promote{Group: "g", Kind: PromoteFailback, Point: m.group("g").Committed, NewEpoch: 3, Writer: "source/host1"})
	m.commit("g", 7)
	other := m.protected("h")
	m.operate("g", OpUnprotect)
	held := m.s.heldBy("n1").Shards
	g := m.operate("g", OpDeletePoints)
	st := m.s.standing("g")
	if g.Baseline != 0 || g.Committed != (redoubt.Position{Epoch: 4}) || len(g.Lineage) != 1 || g.State != StateUnprotected {
		t.Errorf("deleted: %+v", g)
	}
	if st.Erased != 4 || st.ErasedSegments != 4 || st.ErasedBytes != 4*3*500 || !slices.Equal(st.Left, []redoubt.NodeID{"n1", "n2", "n3", "n4"}) {
		t.Errorf("standing: %+v", st)
	}
	for e := redoubt.Epoch(1); e <= 4; e++ {
		if n := m.s.history("g", e).len(); n != 0 {
			t.Errorf("epoch %d has %d segments", e, n)
		}
	}
	if n := m.s.heldBy("n1").Shards; n != held-4 || m.s.history("h", other.Epoch).len() != 2 {
		t.Errorf("%d shards on n1 after %d", n, held)
	}
	reload(t, m.s)

	// The name can go to another identity once no member holds anything of it.
	c := createG("g")
	c.UUID, c.Source = "another", "host2"
	m.refused(c, redoubt.ErrExists)
	done := func(n redoubt.NodeID) { m.must(EraseDone{Group: "g", UUID: "uuid-g", Erased: 4, Node: n}) }
	done("n1")
	done("n1")
	done("n2")
	done("n3")
	m.refused(EraseDone{Group: "g", UUID: "uuid-g", Erased: 3, Node: "n4"}, redoubt.ErrFenced)
	m.refused(EraseDone{Group: "g", UUID: "another", Erased: 4, Node: "n4"}, redoubt.ErrFenced)
	m.refused(c, redoubt.ErrExists)
	done("n4")
	kept := reload(t, m.s)
	if g = m.must(c).(Group); g.UUID != "another" || g.Epoch != 1 || g.State != StateInitialSync || m.s.standing("g").Erased != 0 {
		t.Errorf("taken over: %+v", g)
	}
	m.refused(createG("g"), redoubt.ErrExists) // the old identity comes back
	reload(t, m.s)

	// Or the same identity begins anew, in an epoch that nothing of before has.
	m.s = kept
	g = m.operate("g", OpProtect)
	if f, _ := g.Lineage.Find(5); g.State != StateInitialSync || f != (redoubt.Fork{Epoch: 5, Parent: 4}) || m.s.standing("g").Gap {
		t.Errorf("again: %+v", g)
	}
	s := seg(g, 0, 1, 5)
	s.Baseline = 5
	m.must(batch(g, s))
	if g = m.group("g"); g.State != StateProtected || g.Baseline != 5 {
		t.Errorf("whole again: %+v", g)
	}
}

func TestAHoldKeepsThePoints(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	hold := Pin{Name: "audit", Kind: PinHold, Position: redoubt.Position{Epoch: 1, LSN: 7}, Time: 7000, Until: 50_000}
	m.must(SetPin{Group: "g", Pin: hold})
	m.operate("g", OpUnprotect)
	del := Operate{Group: "g", Epoch: 1, Op: OpDeletePoints, Now: 100_000}
	m.refused(del, redoubt.ErrState) // the proposer's clock ends no hold
	m.refused(AdvanceClock{Group: "g", To: 60_000}, redoubt.ErrInvalid)
	m.must(AdvanceClock{Group: "g", To: 60_000, Confirm: true})
	m.must(SetPin{Group: "g", Pin: Pin{Name: "test-n1-1", Kind: PinExport, Position: redoubt.Position{Epoch: 1, LSN: 8}, Time: 8000}})
	m.refused(del, redoubt.ErrState)
	m.must(RemovePin{Group: "g", Name: "test-n1-1"})
	m.must(del)
}
