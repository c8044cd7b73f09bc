package catalog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// BeginPlan takes points away that the policy no longer keeps, and stores what
// is to be done so that their bytes can go. The FSM checks the plan against
// policy, pins and clock: what must stay cannot be taken away by a wrong plan.
// Result: nil.
//
// ErrFenced: owner, policy, pins or another plan came before. ErrState: the
// group is in a failover, or has no whole copy yet. ErrInvalid: the plan takes
// away a point that must stay.
type BeginPlan struct {
	Group     redoubt.GroupID
	OwnerTerm uint64
	ID        uint64 // Retention.Plans + 1
	Gen       uint64 // Retention.Gen that the plan was made for
	Now       int64  // at most Retention.Clock
	Changes   []TrackChange
	Marks     []Mark // bookmarks that come below a horizon and stay
	Work      []Work
}

// TrackChange moves an epoch's horizon up and drops points below it.
type TrackChange struct {
	Epoch       redoubt.Epoch
	Horizon     redoubt.LSN
	HorizonTime int64         // of the write at Horizon; of the epoch's last write if there is none
	Keep        []Kept        // points from the old horizon to the new one that stay
	Drop        []redoubt.LSN // points below the old horizon that go; rising
}

func (c BeginPlan) kind() kind { return kindBeginPlan }

func (c BeginPlan) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(c.OwnerTerm)
	e.uvar(c.ID)
	e.uvar(c.Gen)
	e.i64(c.Now)
	e.uvar(uint64(len(c.Changes)))
	for _, t := range c.Changes {
		e.uvar(uint64(t.Epoch))
		e.lsn(t.Horizon)
		e.i64(t.HorizonTime)
		e.kept(t.Keep)
		e.uvar(uint64(len(t.Drop)))
		last := redoubt.LSN(0)
		for _, l := range t.Drop {
			e.lsn(l - last)
			last = l
		}
	}
	e.marks(c.Marks)
	e.work(c.Work)
}

func decodeBeginPlan(d *decoder) Command {
	c := BeginPlan{Group: d.groupID(), OwnerTerm: d.uvar(), ID: d.uvar(), Gen: d.uvar(), Now: d.i64()}
	for range d.count(maxLineage, "number of epochs") {
		t := TrackChange{Epoch: d.epoch(), Horizon: d.lsn(), HorizonTime: d.i64(), Keep: d.kept(MaxKept)}
		last := redoubt.LSN(0)
		for range d.count(MaxKept, "number of points") {
			last += d.lsn()
			t.Drop = append(t.Drop, last)
		}
		c.Changes = append(c.Changes, t)
		if d.err != nil {
			break
		}
	}
	c.Marks, c.Work = d.marks(), d.work()
	return c
}

func (c BeginPlan) check() error {
	bad := func(why string) error { return invalid("begin retention plan of group", string(c.Group), why) }
	last := redoubt.Epoch(0)
	for _, t := range c.Changes {
		if t.Epoch <= last || !slices.IsSorted(t.Drop) {
			return bad("out of order")
		}
		if n := len(t.Keep); n > 0 && t.Keep[n-1].LSN >= t.Horizon {
			return bad("a point above the horizon")
		}
		last = t.Epoch
	}
	if len(c.Work) > MaxWork || len(c.Marks) > MaxMarks {
		return bad("too long")
	}
	for i, w := range c.Work {
		if w.From >= w.To || i > 0 && (w.Epoch < c.Work[i-1].Epoch || w.Epoch == c.Work[i-1].Epoch && w.From < c.Work[i-1].To) {
			return bad("stretches out of order")
		}
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c BeginPlan) apply(s *state) (any, error) {
	const op = "begin retention plan of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	r := *s.retention(g.ID)
	fenced := func(why string) (any, error) {
		return nil, fail(op, string(g.ID), fmt.Errorf("%s: %w", why, redoubt.ErrFenced), "it is planned again")
	}
	switch {
	case c.OwnerTerm != g.OwnerTerm:
		return fenced("the owner changed")
	case r.Plan != nil || c.ID != r.Plans+1:
		return fenced("another plan came before")
	case c.Gen != r.Gen:
		return fenced("policy or pins changed")
	case c.Now > r.Clock:
		return fenced("the plan is ahead of the clock")
	case g.Baseline == 0 || g.State == StateFailingOver || g.State == StateFailoverCommitPending:
		return nil, fail(op, string(g.ID), fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), "it is planned again later")
	}
	v := &verdict{s: s, g: g, r: &r, c: &c}
	tracks, err := v.tracks()
	if err != nil {
		return nil, err
	}
	if err := v.verify(tracks); err != nil {
		return nil, err
	}
	for _, w := range c.Work {
		if w.To > s.history(g.ID, w.Epoch).len() {
			return nil, invalid(op, string(g.ID), "work beyond the history")
		}
	}
	before := r.Tracks
	r.Tracks, r.Marks = tracks, r.marksAfter(c.Marks, tracks)
	if len(r.Marks) > MaxMarks {
		return nil, invalid(op, string(g.ID), "too many bookmarks")
	}
	r.Plans = c.ID
	r.Plan = &Plan{ID: c.ID, Now: c.Now, Phase: PhaseAnnounced, Before: before, Work: c.Work}
	s.retain[g.ID] = &r
	return nil, nil
}

// marksAfter returns the bookmarks, old and new, whose points there still are.
func (r *Retention) marksAfter(added []Mark, tracks []Track) []Mark {
	all := append(slices.Clone(r.Marks), added...)
	slices.SortFunc(all, func(a, b Mark) int {
		return cmp.Or(a.Position.Compare(b.Position), cmp.Compare(a.Name, b.Name))
	})
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(m Mark) bool { return !hasPoint(tracks, m.Position) })
}

// AdvancePlan says that no node has a point of the plan open but those in Open,
// which come back; from now on bytes go. A plan that is further on already is
// left as it is. Result: nil.
type AdvancePlan struct {
	Group     redoubt.GroupID
	OwnerTerm uint64
	ID        uint64
	Open      []OpenPoint
}

// OpenPoint is a point that somebody reads.
type OpenPoint struct {
	Position redoubt.Position
	Time     int64
}

func (c AdvancePlan) kind() kind { return kindAdvancePlan }

func (c AdvancePlan) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(c.OwnerTerm)
	e.uvar(c.ID)
	e.uvar(uint64(len(c.Open)))
	for _, o := range c.Open {
		e.pos(o.Position)
		e.i64(o.Time)
	}
}

func decodeAdvancePlan(d *decoder) Command {
	c := AdvancePlan{Group: d.groupID(), OwnerTerm: d.uvar(), ID: d.uvar()}
	for range d.count(MaxBatch, "number of points") {
		c.Open = append(c.Open, OpenPoint{Position: d.pos(), Time: d.i64()})
	}
	return c
}

func (c AdvancePlan) check() error { return redoubt.ValidName("group", string(c.Group)) }

func (c AdvancePlan) apply(s *state) (any, error) {
	const op = "advance retention plan of group"
	g, r, err := s.plan(op, c.Group, c.OwnerTerm, c.ID)
	if err != nil || r.Plan.Phase != PhaseAnnounced {
		return nil, err
	}
	p := *r.Plan
	tracks := slices.Clone(r.Tracks)
	for _, o := range c.Open {
		if !hasPoint(p.Before, o.Position) {
			return nil, invalid(op, string(g.ID), fmt.Sprintf("point %s was gone before", o.Position))
		}
		for i := range tracks {
			t := &tracks[i]
			if at, there := t.find(o.Position.LSN); t.Epoch == o.Position.Epoch && o.Position.LSN < t.Horizon && !there {
				t.Points = slices.Insert(slices.Clone(t.Points), at, t.between(at, o))
			}
		}
	}
	p.Before, p.Phase = nil, PhaseThinning
	n := *r
	n.Tracks, n.Plan = tracks, &p
	if len(p.Work) == 0 {
		n.Plan = nil
	}
	s.retain[g.ID] = &n
	return nil, nil
}

// between is the open point as the at-th of the track: times do not fall.
func (t *Track) between(at int, o OpenPoint) Kept {
	k := Kept{LSN: o.Position.LSN, Time: o.Time}
	if at > 0 {
		k.Time = max(k.Time, t.Points[at-1].Time)
	}
	if at < len(t.Points) {
		k.Time = min(k.Time, t.Points[at].Time)
	}
	return k
}

// plan returns the group and its retention if the plan id is under way there.
func (s *state) plan(op string, id redoubt.GroupID, term, plan uint64) (*Group, *Retention, error) {
	g, err := s.group(op, id)
	if err != nil {
		return nil, nil, err
	}
	r := s.retention(id)
	if term != g.OwnerTerm || r.Plan == nil || r.Plan.ID != plan {
		return nil, nil, fail(op, string(id), fmt.Errorf("plan %d is not under way, or the owner changed: %w", plan, redoubt.ErrFenced), "")
	}
	return g, r, nil
}
