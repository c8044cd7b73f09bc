package catalog

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

const second = int64(time.Second)

// aged is a group with a whole baseline at LSN 1 and one segment a minute of
// ten writes, six seconds apart, for an hour; its clock is at the end.
func (m *machine) aged(id string) Group {
	m.t.Helper()
	m.must(createG(id))
	for i := range 60 {
		g := m.group(id)
		first := redoubt.LSN(1 + 10*i)
		s := seg(g, uint64(i), first, first+9)
		s.FirstTime, s.LastTime = int64(i)*60*second, (int64(i)*60+54)*second
		if i == 0 {
			s.Baseline = 1
		}
		m.must(batch(g, s))
	}
	g := m.group(id)
	p, err := ParsePolicy("every=10m,1m=30m,10m=50m,bookmarks=1h")
	if err != nil {
		m.t.Fatal(err)
	}
	m.must(SetPolicy{Group: g.ID, Policy: p})
	m.must(AdvanceClock{Group: g.ID, To: g.CommittedTime})
	return g
}

// rightPlan is what the policy of aged says: horizon at 10 minutes, minute ends
// up to 30 minutes, ends of ten minutes up to 50, and one before that.
func rightPlan(m *machine, g Group) BeginPlan {
	r := m.s.retention(g.ID)
	dense := g.CommittedTime - int64(10*time.Minute)
	c := TrackChange{Epoch: 1}
	last := map[int64]Kept{}
	for l := redoubt.LSN(1); l <= g.Committed.LSN; l++ {
		at := (int64(l-1)/10*60 + int64(l-1)%10*6) * second
		if at >= dense {
			c.Horizon, c.HorizonTime = l, at
			break
		}
		step := int64(time.Minute)
		if g.CommittedTime-at > int64(30*time.Minute) {
			step = int64(10 * time.Minute)
		}
		if step > int64(time.Minute) || l%10 == 0 {
			last[at/step*step+step] = Kept{l, at}
		}
	}
	for l := redoubt.LSN(1); l < c.Horizon; l++ {
		for _, k := range last {
			// In the minutes' tier the ends of ten minutes are ends of minutes, too.
			if k.LSN == l && k.LSN%10 == 0 {
				c.Keep = append(c.Keep, k)
			}
		}
	}
	return BeginPlan{Group: g.ID, OwnerTerm: g.OwnerTerm, ID: r.Plans + 1, Gen: r.Gen, Now: r.Clock, Changes: []TrackChange{c}, Work: []Work{{Epoch: 1, To: 50}}}
}

// without drops from the plan's Keep what fn says.
func without(p BeginPlan, fn func(k Kept) bool) BeginPlan {
	var keep []Kept
	for _, k := range p.Changes[0].Keep {
		if !fn(k) {
			keep = append(keep, k)
		}
	}
	c := p.Changes[0]
	c.Keep = keep
	p.Changes = []TrackChange{c}
	return p
}

func TestPlansAreCheckedByTheFSM(t *testing.T) {
	m := newMachine(t, 3)
	g := m.aged("g")
	p := rightPlan(m, g)
	t.Logf("keeps %v", p.Changes[0].Keep)
	bad := func(f func(p *BeginPlan)) BeginPlan {
		c := p
		c.Changes = append([]TrackChange(nil), p.Changes...)
		f(&c)
		return c
	}
	age := func(k Kept) time.Duration { return time.Duration(g.CommittedTime - k.Time) }
	m.refused(without(p, func(k Kept) bool { return age(k) < 12*time.Minute }), redoubt.ErrInvalid)
	m.refused(without(p, func(k Kept) bool { return age(k) > 31*time.Minute && age(k) < 42*time.Minute }), redoubt.ErrInvalid)
	m.refused(without(p, func(k Kept) bool { return age(k) >= 50*time.Minute }), redoubt.ErrInvalid)
	m.refused(bad(func(p *BeginPlan) { p.Changes[0].Horizon, p.Changes[0].HorizonTime = 551, 55*60*second }), redoubt.ErrInvalid)
	m.refused(bad(func(p *BeginPlan) { p.Changes[0].Horizon = 700 }), redoubt.ErrInvalid)
	m.refused(bad(func(p *BeginPlan) { p.Now++ }), redoubt.ErrFenced)
	m.refused(bad(func(p *BeginPlan) { p.Gen++ }), redoubt.ErrFenced)
	m.refused(bad(func(p *BeginPlan) { p.ID++ }), redoubt.ErrFenced)
	m.refused(bad(func(p *BeginPlan) { p.OwnerTerm++ }), redoubt.ErrFenced)
	m.refused(bad(func(p *BeginPlan) { p.Work = []Work{{Epoch: 1, To: 99}} }), redoubt.ErrInvalid)

	// A hold in the middle of a minute: no plan without it.
	hold := Pin{Name: "audit", Kind: PinHold, Position: redoubt.Position{Epoch: 1, LSN: 205}, Until: g.CommittedTime + second}
	m.must(SetPin{Group: "g", Pin: hold})
	p = rightPlan(m, g)
	m.refused(p, redoubt.ErrInvalid)
	m.refused(RemovePin{Group: "g", Name: "audit"}, redoubt.ErrState)
	sooner := hold
	sooner.Until--
	m.refused(SetPin{Group: "g", Pin: sooner}, redoubt.ErrState)
	soft := hold
	soft.Kind = PinOperator
	m.refused(SetPin{Group: "g", Pin: soft}, redoubt.ErrExists)
	for i, k := range p.Changes[0].Keep {
		if k.LSN > 205 {
			p.Changes[0].Keep = append(p.Changes[0].Keep[:i:i], append([]Kept{{205, (20*60 + 24) * second}}, p.Changes[0].Keep[i:]...)...)
			break
		}
	}
	m.must(p)
	r := m.s.retention("g")
	for l, want := range map[redoubt.LSN]bool{204: false, 205: true, 206: false, 600: true} {
		if r.Has(redoubt.Position{Epoch: 1, LSN: l}) != want {
			t.Errorf("LSN %d: %v", l, !want)
		}
	}
	m.refused(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 204}, NewEpoch: 2, Writer: "target/n1"}, redoubt.ErrNotFound)
	m.refused(SetPin{Group: "g", Pin: Pin{Name: "late", Kind: PinOperator, Position: redoubt.Position{Epoch: 1, LSN: 204}}}, redoubt.ErrNotFound)
	if !bytes.Equal(m.image(), (&machine{t: t, s: reload(t, m.s)}).image()) {
		t.Error("a snapshot does not hold the plan")
	}

	// The hold is over when its date has come, and only then.
	m.commitAt("g", g.CommittedTime+2*second)
	m.must(AdvanceClock{Group: "g", To: g.CommittedTime + 2*second})
	if len(m.s.retention("g").Pins) != 0 {
		t.Error("the hold has no end")
	}
}

// commitAt commits one write with that time.
func (m *machine) commitAt(id string, at int64) {
	m.t.Helper()
	g := m.group(id)
	s := seg(g, m.s.history(g.ID, g.Epoch).len(), g.Committed.LSN+1, g.Committed.LSN+1)
	s.FirstTime, s.LastTime = at, at
	m.must(batch(g, s))
}

// Until a failover is committed another point may be chosen: none may go.
func TestNoPlanDuringAFailover(t *testing.T) {
	m := newMachine(t, 3)
	g := m.aged("g")
	p := rightPlan(m, g)
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 404}, NewEpoch: 2, Writer: "target/n1"})
	m.refused(p, redoubt.ErrState)
	m.must(CommitFailover{Group: "g", Epoch: 2})
	m.refused(p, redoubt.ErrInvalid) // production lies over 404
}

func TestThinSegmentsGoInOrder(t *testing.T) {
	m := newMachine(t, 3)
	g := m.aged("g")
	m.must(rightPlan(m, g))
	old := m.s.segment(1, 0, m.s.history("g", 1).at(0))
	gone := Segment{Epoch: 1, Ordinal: 0, First: old.First, Last: old.Last, FirstTime: old.FirstTime, LastTime: old.LastTime, Baseline: old.Baseline, CRC: old.CRC}
	c := ThinSegments{Group: "g", OwnerTerm: g.OwnerTerm, Epoch: 1, ID: 1, Done: Work{Epoch: 1, To: 1}, Segments: []Replacement{{old.CRC, gone}}}
	m.refused(c, redoubt.ErrFenced) // somebody may have a point open
	m.must(AdvancePlan{Group: "g", OwnerTerm: g.OwnerTerm, ID: 1, Open: []OpenPoint{{redoubt.Position{Epoch: 1, LSN: 13}, 72 * second}}})
	if r := m.s.retention("g"); !r.Has(redoubt.Position{Epoch: 1, LSN: 13}) || r.Has(redoubt.Position{Epoch: 1, LSN: 14}) {
		t.Error("the open point did not come back, or another one did")
	}
	with := func(f func(c *ThinSegments)) ThinSegments {
		n := c
		n.Segments = append([]Replacement(nil), c.Segments...)
		f(&n)
		return n
	}
	m.refused(with(func(c *ThinSegments) { c.Done.From, c.Done.To, c.Segments = 1, 2, nil }), redoubt.ErrGap)
	m.refused(with(func(c *ThinSegments) { c.Segments[0].OldCRC++ }), redoubt.ErrGap)
	m.refused(with(func(c *ThinSegments) { c.Segments[0].Segment.Last++ }), redoubt.ErrInvalid)
	m.refused(with(func(c *ThinSegments) { c.Segments[0].Segment.Baseline = 0 }), redoubt.ErrInvalid)
	m.refused(with(func(c *ThinSegments) { c.Epoch = 2 }), redoubt.ErrFenced)
	m.must(c)
	m.refused(c, redoubt.ErrGap) // a repetition under another serial
	if r := m.s.retention("g"); r.DroppedSegments != 1 || r.FreedBytes != 1500 || r.Plan.Work[0].From != 1 {
		t.Errorf("%+v", r.Plan)
	}
	m.checkTallies()
	m.must(ThinSegments{Group: "g", OwnerTerm: g.OwnerTerm, Epoch: 1, ID: 1, Done: Work{Epoch: 1, From: 1, To: 50}})
	if m.s.retention("g").Plan != nil {
		t.Error("the plan has no end")
	}
}

func TestClockDoesNotJump(t *testing.T) {
	m := newMachine(t, 3)
	g := m.aged("g")
	m.refused(AdvanceClock{Group: "g", To: g.CommittedTime + 1}, redoubt.ErrInvalid)
	far := g.CommittedTime + 10*365*int64(day)
	m.commitAt("g", far)
	m.refused(AdvanceClock{Group: "g", To: far}, redoubt.ErrState)
	m.must(AdvanceClock{Group: "g", To: far, Confirm: true})
	if m.s.retention("g").Clock != far {
		t.Error("a confirmed jump is not taken")
	}
}

func TestPolicyText(t *testing.T) {
	for _, s := range []string{DefaultPolicy().String(), "every=1s,bookmarks=0s", "every=1m30s,1m=1h30m,5m=2d,bookmarks=1d"} {
		p, err := ParsePolicy(s)
		if err != nil || p.String() != s {
			t.Errorf("%s becomes %s: %v", s, p, err)
		}
	}
	for s, want := range map[string]time.Duration{"every=1m,1s=1h": DefaultPolicy().Bookmarks, "every=1m,bookmarks=0s": 0} {
		if p, err := ParsePolicy(s); err != nil || p.Bookmarks != want {
			t.Errorf("%s keeps bookmarks for %s, %v", s, p.Bookmarks, err)
		}
	}
	for _, s := range []string{"", "every=0s", "1s=1d", "every=1m,1s=1h,1500ms=2h", "every=1m,1s=30s", "every=1m,2s=1h,3s=2h", "every=1m,1m=1h,1s=2h", "every=-1m", "every=1m,1d=1h"} {
		if p, err := ParsePolicy(s); err == nil {
			t.Errorf("%q is taken: %s", s, p)
		}
	}
}

// A point that somebody has open comes back on top of as many points as a plan
// may leave. The snapshot with it is read, or no node would start any more.
func TestAnOpenPointBeyondMaxKept(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	points := make([]Kept, MaxKept)
	for i := range points {
		points[i] = Kept{LSN: redoubt.LSN(2*i + 2), Time: int64(i)}
	}
	m.s.retain[g.ID] = &Retention{Policy: DefaultPolicy(), Plans: 1, Plan: &Plan{ID: 1, Phase: PhaseAnnounced},
		Tracks: []Track{{Epoch: 1, Horizon: 2*MaxKept + 2, Points: points}}}
	m.must(AdvancePlan{Group: g.ID, OwnerTerm: 1, ID: 1, Open: []OpenPoint{{Position: redoubt.Position{Epoch: 1, LSN: 5}, Time: 2}}})
	r := reload(t, m.s).retention(g.ID)
	if n := len(r.Tracks[0].Points); n != MaxKept+1 || !r.Has(redoubt.Position{Epoch: 1, LSN: 5}) {
		t.Errorf("%d points after reload", n)
	}
}

// A snapshot that nobody could read is not written: the log behind it would be gone.
func TestASnapshotThatCannotBeReadIsAnError(t *testing.T) {
	m := newMachine(t, 3)
	m.must(putPlan("p", "text"))
	for _, over := range []int{0, 1} {
		m.s.plans["p"].Text = nil
		e := encoder{}
		e.u8(planRecord)
		e.recoveryPlan(m.s.plans["p"])
		m.s.plans["p"].Text = make([]byte, maxRecord-len(e.b)-3+over) // its length takes 4 bytes, not 1
		if err := writeSnapshot(io.Discard, m.s.freeze()); (over == 0) != (err == nil) || over == 1 && !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%d bytes too many: %v", over, err)
		}
	}
}
