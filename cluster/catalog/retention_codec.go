package catalog

import (
	"time"

	"github.com/redoubt-dr/redoubt"
)

func (e *encoder) policy(p Policy) {
	e.uvar(uint64(p.Every))
	e.uvar(uint64(len(p.Tiers)))
	for _, t := range p.Tiers {
		e.uvar(uint64(t.Step))
		e.uvar(uint64(t.For))
	}
	e.uvar(uint64(p.Bookmarks))
}

func (d *decoder) span() time.Duration {
	return time.Duration(d.uvarMax(uint64(maxSpan), "length of time"))
}

func (d *decoder) policy() Policy {
	p := Policy{Every: d.span()}
	for range d.count(maxTiers, "number of tiers") {
		p.Tiers = append(p.Tiers, Tier{Step: d.span(), For: d.span()})
	}
	p.Bookmarks = d.span()
	return p
}

func (e *encoder) pin(p Pin) {
	e.str(p.Name)
	e.u8(uint8(p.Kind))
	e.pos(p.Position)
	e.i64(p.Time)
	e.i64(p.Until)
	e.str(p.By)
}

func (d *decoder) pin() Pin {
	return Pin{Name: d.str(maxName, "pin"), Kind: PinKind(d.u8()), Position: d.pos(), Time: d.i64(), Until: d.i64(), By: d.str(maxAddr, "name")}
}

func (e *encoder) marks(ms []Mark) {
	e.uvar(uint64(len(ms)))
	for _, m := range ms {
		e.pos(m.Position)
		e.i64(m.Time)
		e.str(m.Name)
	}
}

func (d *decoder) marks() (out []Mark) {
	for range d.count(MaxMarks, "number of bookmarks") {
		out = append(out, Mark{Position: d.pos(), Time: d.i64(), Name: d.str(maxAddr, "bookmark")})
	}
	return out
}

// kept writes points as the differences of their LSNs and times: five or so
// bytes each.
func (e *encoder) kept(ks []Kept) {
	e.uvar(uint64(len(ks)))
	var last Kept
	for i, k := range ks {
		if i == 0 {
			e.i64(k.Time)
		} else {
			e.uvar(uint64(k.Time - last.Time))
		}
		e.lsn(k.LSN - last.LSN)
		last = k
	}
}

func (d *decoder) kept(limit int) []Kept {
	n := d.count(limit, "number of points")
	if n == 0 {
		return nil
	}
	out := make([]Kept, 0, n)
	var last Kept
	for i := range n {
		k := Kept{Time: last.Time}
		if i == 0 {
			k.Time = d.i64()
		} else {
			k.Time += int64(d.uvar())
		}
		k.LSN = last.LSN + d.lsn()
		if k.LSN <= last.LSN || i > 0 && k.Time < last.Time {
			d.bad("points that do not rise")
			return nil
		}
		out, last = append(out, k), k
	}
	return out
}

func (e *encoder) tracks(ts []Track) {
	e.uvar(uint64(len(ts)))
	for _, t := range ts {
		e.uvar(uint64(t.Epoch))
		e.lsn(t.Horizon)
		e.kept(t.Points)
	}
}

// maxTracked is the largest number of points below the horizon of one epoch that
// a track holds: AdvancePlan gives open ones back beyond MaxKept.
const maxTracked = MaxKept + MaxBatch

func (d *decoder) tracks() (out []Track) {
	var last redoubt.Epoch
	for range d.count(maxLineage, "number of tracks") {
		t := Track{Epoch: d.epoch(), Horizon: d.lsn(), Points: d.kept(maxTracked)}
		if n := len(t.Points); t.Epoch <= last || n > 0 && t.Points[n-1].LSN >= t.Horizon {
			d.bad("bad track")
			return nil
		}
		out, last = append(out, t), t.Epoch
	}
	return out
}

func (e *encoder) work(ws []Work) {
	e.uvar(uint64(len(ws)))
	for _, w := range ws {
		e.uvar(uint64(w.Epoch))
		e.uvar(w.From)
		e.uvar(w.To)
	}
}

func (d *decoder) work() (out []Work) {
	for range d.count(MaxWork, "number of stretches") {
		out = append(out, Work{Epoch: d.epoch(), From: d.uvar(), To: d.uvar()})
	}
	return out
}

func (e *encoder) retention(r *Retention) {
	e.policy(r.Policy)
	e.bool(r.Set)
	e.uvar(r.Gen)
	e.i64(r.Clock)
	e.uvar(uint64(len(r.Pins)))
	for _, p := range r.Pins {
		e.pin(p)
	}
	e.marks(r.Marks)
	e.tracks(r.Tracks)
	e.uvar(r.Plans)
	e.uvar(r.DroppedSegments)
	e.uvar(r.FreedBytes)
	e.bool(r.Plan != nil)
	if p := r.Plan; p != nil {
		e.uvar(p.ID)
		e.i64(p.Now)
		e.u8(uint8(p.Phase))
		e.tracks(p.Before)
		e.work(p.Work)
	}
}

func (d *decoder) retention() *Retention {
	r := &Retention{Policy: d.policy(), Set: d.bool(), Gen: d.uvar(), Clock: d.i64()}
	for range d.count(MaxPins, "number of pins") {
		r.Pins = append(r.Pins, d.pin())
	}
	r.Marks, r.Tracks = d.marks(), d.tracks()
	r.Plans, r.DroppedSegments, r.FreedBytes = d.uvar(), d.uvar(), d.uvar()
	if d.bool() {
		r.Plan = &Plan{ID: d.uvar(), Now: d.i64(), Phase: Phase(d.u8()), Before: d.tracks(), Work: d.work()}
		if p := r.Plan.Phase; p != PhaseAnnounced && (p != PhaseThinning || len(r.Plan.Work) == 0) {
			d.bad("bad phase of a plan")
		}
	}
	return r
}
