package catalog

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// verdict checks a plan: it takes away only what policy, pins and bookmarks
// let go. What a point in the middle of a segment is, only its head tells; of
// those the FSM sees what was kept before, of the others the segments' ends.
type verdict struct {
	s *state
	g *Group
	r *Retention
	c *BeginPlan
}

func (v *verdict) bad(format string, a ...any) error {
	return invalid("begin retention plan of group", string(v.g.ID), fmt.Sprintf(format, a...))
}

// tracks returns the group's tracks as they are after the plan.
func (v *verdict) tracks() ([]Track, error) {
	out := slices.Clone(v.r.Tracks)
	for _, ch := range v.c.Changes {
		i, there := slices.BinarySearchFunc(out, ch.Epoch, func(t Track, e redoubt.Epoch) int { return int(t.Epoch) - int(e) })
		if !there {
			if _, ok := v.g.Lineage.Find(ch.Epoch); !ok {
				return nil, v.bad("no epoch %d", ch.Epoch)
			}
			out = slices.Insert(out, i, Track{Epoch: ch.Epoch})
		}
		old := out[i]
		h := v.s.history(v.g.ID, ch.Epoch)
		if n := h.len(); n == 0 || ch.Horizon < old.Horizon || ch.Horizon > h.at(n-1).last+1 {
			return nil, v.bad("horizon %d of epoch %d", ch.Horizon, ch.Epoch)
		}
		points := make([]Kept, 0, len(old.Points)+len(ch.Keep))
		drop := ch.Drop
		for _, p := range old.Points {
			if len(drop) > 0 && drop[0] == p.LSN {
				drop = drop[1:]
				continue
			}
			points = append(points, p)
		}
		if len(drop) > 0 {
			return nil, v.bad("point %d:%d is not there", ch.Epoch, drop[0])
		}
		if len(ch.Keep) > 0 && ch.Keep[0].LSN < old.Horizon {
			return nil, v.bad("point %d:%d is below the old horizon", ch.Epoch, ch.Keep[0].LSN)
		}
		if n := len(points); n > 0 && len(ch.Keep) > 0 && ch.Keep[0].Time < points[n-1].Time {
			return nil, v.bad("times fall at %d:%d", ch.Epoch, ch.Keep[0].LSN)
		}
		points = append(points, ch.Keep...)
		if len(points) > MaxKept {
			return nil, v.bad("%d points of epoch %d", len(points), ch.Epoch)
		}
		out[i] = Track{Epoch: ch.Epoch, Horizon: ch.Horizon, Points: points}
	}
	return out, nil
}

// verify checks what is gone after the plan.
func (v *verdict) verify(after []Track) error {
	stay := func(p redoubt.Position, why string) error {
		if !hasPoint(after, p) && hasPoint(v.r.Tracks, p) {
			return v.bad("it takes away %s: %s", p, why)
		}
		return nil
	}
	if err := stay(Visible(v.s.gaps[v.g.ID], v.g.Lineage.Path(v.g.Committed)), "the newest point"); err != nil {
		return err
	}
	if v.g.State == StateFailedOver || v.g.State == StateReverseReplicating {
		if err := stay(v.g.Written(v.g.Promoted), "production lies over it"); err != nil {
			return err
		}
	}
	for _, p := range v.r.Pins {
		if err := stay(p.Position, p.Kind.String()+" "+p.Name); err != nil {
			return err
		}
	}
	for _, m := range v.r.Marks {
		if v.c.Now-m.Time < int64(v.r.Policy.Bookmarks) {
			if err := stay(m.Position, "bookmark "+m.Name); err != nil {
				return err
			}
		}
	}
	for i := range v.c.Changes {
		if err := v.change(&v.c.Changes[i], after); err != nil {
			return err
		}
	}
	return nil
}

// change checks the points of one epoch that the plan takes away.
func (v *verdict) change(ch *TrackChange, after []Track) error {
	old := v.r.Track(ch.Epoch)
	for _, l := range ch.Drop {
		i, _ := old.find(l)
		if err := v.gone(redoubt.Position{Epoch: ch.Epoch, LSN: l}, old.Points[i].Time, after); err != nil {
			return err
		}
	}
	h := v.s.history(v.g.ID, ch.Epoch)
	from, _ := h.find(max(old.Horizon, h.at(0).first, v.g.Baseline))
	for i := from; i < h.len() && h.at(i).last < ch.Horizon; i++ {
		p := redoubt.Position{Epoch: ch.Epoch, LSN: h.at(i).last}
		if _, in := v.s.hidden(v.g, p); !in && !hasPoint(after, p) {
			if err := v.gone(p, h.at(i).lastTime, after); err != nil {
				return err
			}
		}
	}
	return nil
}

// gone checks that a point with that time may go.
func (v *verdict) gone(p redoubt.Position, at int64, after []Track) error {
	pol, age := v.r.Policy, time.Duration(v.c.Now-at)
	if age <= pol.Every {
		return v.bad("%s is only %s old", p, age)
	}
	next, ok := v.follow(p, after)
	for _, t := range pol.Tiers {
		if age <= t.For && (!ok || bucket(next, t.Step) != bucket(at, t.Step)) {
			return v.bad("%s is the last of its %s", p, t.Step)
		}
	}
	if last := pol.Tiers; ok && len(last) > 0 && bucket(next, last[len(last)-1].Step) == bucket(at, last[len(last)-1].Step) {
		return nil // it ends no bucket, so it is not what the oldest tier begins with
	}
	if v.onPath(p) && age > pol.Longest() && (!ok || next > v.c.Now-int64(pol.Longest())) {
		return v.bad("%s is what the disks were when the oldest tier begins", p)
	}
	return nil
}

// bucket numbers the steps since 1970.
func bucket(t int64, step time.Duration) int64 {
	n := t / int64(step)
	if t%int64(step) < 0 {
		n--
	}
	return n
}

// onPath reports whether p lies on the history that leads to the newest point.
func (v *verdict) onPath(p redoubt.Position) bool {
	for _, st := range v.g.Lineage.Path(v.g.Committed) {
		if st.Epoch == p.Epoch {
			return p.LSN <= st.To
		}
	}
	return false
}

// follow returns the time of the point after p, on the path of the newest
// point if p is on it, or else in p's epoch.
func (v *verdict) follow(p redoubt.Position, after []Track) (int64, bool) {
	h := v.s.history(v.g.ID, p.Epoch)
	to := h.at(h.len() - 1).last
	path := v.g.Lineage.Path(v.g.Committed)
	on := slices.IndexFunc(path, func(st redoubt.Stretch) bool { return st.Epoch == p.Epoch && p.LSN <= st.To })
	if on >= 0 {
		to = path[on].To
	}
	if at, ok := v.first(p.Epoch, p.LSN+1, to, after); ok {
		return at, true
	}
	for on--; on >= 0; on-- {
		if at, ok := v.first(path[on].Epoch, path[on].From+1, path[on].To, after); ok {
			return at, true
		}
	}
	return 0, false
}

// first returns the time of the first point of the epoch in [from, to].
func (v *verdict) first(e redoubt.Epoch, from, to redoubt.LSN, after []Track) (int64, bool) {
	t, _ := trackOf(after, e)
	l := t.Next(from)
	for gap, in := GapAt(v.s.gaps[v.g.ID], redoubt.Position{Epoch: e, LSN: l}); in; gap, in = GapAt(v.s.gaps[v.g.ID], redoubt.Position{Epoch: e, LSN: l}) {
		if gap.Open() {
			return 0, false
		}
		l = t.Next(gap.Whole)
	}
	if l > to {
		return 0, false
	}
	if i, ok := t.find(l); ok && l < t.Horizon {
		return t.Points[i].Time, true
	}
	h := v.s.history(v.g.ID, e)
	i, ok := h.find(l)
	if !ok {
		return 0, false
	}
	rec := h.at(i)
	for _, ch := range v.c.Changes {
		if ch.Epoch == e && ch.Horizon == l && ch.HorizonTime >= rec.firstTime && ch.HorizonTime <= rec.lastTime {
			return ch.HorizonTime, true
		}
	}
	if rec.first == l {
		return rec.firstTime, true
	}
	return rec.lastTime, true
}
