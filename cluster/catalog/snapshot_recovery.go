package catalog

import (
	"maps"
	"slices"
)

// What a recPlan record holds.
const (
	planRecord = 1
	runRecord  = 2
)

// recovery writes every plan with its runs behind it; nothing if there are none.
func (w *snapshotWriter) recovery(s *state) {
	for _, name := range slices.Sorted(maps.Keys(s.plans)) {
		w.record(recPlan, func(e *encoder) { e.u8(planRecord); e.recoveryPlan(s.plans[name]) })
		for _, r := range s.runsOf(name) {
			w.record(recPlan, func(e *encoder) { e.u8(runRecord); e.run(r) })
		}
	}
}

func (s *state) loadRecovery(d *decoder) {
	switch d.u8() {
	case planRecord:
		p := d.recoveryPlan()
		if _, twice := s.plans[p.Name]; twice || len(s.plans) >= MaxRecoveryPlans {
			d.bad("bad plan")
			return
		}
		s.plans[p.Name] = p
	case runRecord:
		r := d.run()
		p, ok := s.plans[r.Plan]
		if _, twice := s.runs[r.key()]; twice || !ok || r.Number > p.Runs {
			d.bad("run of an unknown plan")
			return
		}
		s.runs[r.key()] = r
	default:
		d.bad("neither plan nor run")
	}
}
