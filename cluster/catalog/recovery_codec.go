package catalog

import (
	"maps"
	"slices"
	"time"
)

func (e *encoder) recoveryPlan(p *RecoveryPlan) {
	e.str(p.Name)
	e.uvar(p.Version)
	e.bytes(p.Text)
	e.str(p.By)
	e.i64(p.At)
	e.uvar(p.Runs)
	e.uvar(uint64(len(p.Took)))
	for _, key := range slices.Sorted(maps.Keys(p.Took)) {
		e.str(key)
		e.uvar(uint64(len(p.Took[key])))
		for _, t := range p.Took[key] {
			e.u8(uint8(t.Kind))
			e.uvar(uint64(t.Took))
		}
	}
}

func (d *decoder) recoveryPlan() *RecoveryPlan {
	p := &RecoveryPlan{Name: d.str(maxName, "plan"), Version: d.uvar(), Text: d.bytes(MaxPlanText, "text"), By: d.str(maxAddr, "name"), At: d.i64(),
		Runs: d.uvar()}
	for range d.count(maxTimed, "number of measured steps") {
		key := d.str(MaxStepKey, "step")
		if _, twice := p.Took[key]; twice {
			d.bad("a step twice")
		}
		var ts []Timing
		for range d.count(keptTimes, "number of measurements") {
			ts = append(ts, Timing{Kind: d.runKind(), Took: time.Duration(d.uvarMax(uint64(maxSpan), "length of time"))})
		}
		if d.err != nil {
			return p
		}
		if p.Took == nil {
			p.Took = map[string][]Timing{}
		}
		p.Took[key] = ts
	}
	return p
}

// maxTimed bounds the steps of a plan of which measurements are kept: those of
// steps that the plan had once are among them.
const maxTimed = 2 * MaxRunSteps

func (d *decoder) one(names []string, what string) uint8 {
	v := d.u8()
	if !valid(names, v) {
		d.bad("unknown " + what)
	}
	return v
}

func (d *decoder) runKind() RunKind { return RunKind(d.one(runKinds, "kind of run")) }

func (e *encoder) run(r *Run) {
	e.str(r.Plan)
	e.uvar(r.Number)
	e.uvar(r.Version)
	e.bytes(r.Text)
	e.u8(uint8(r.Kind))
	e.u8(uint8(r.Direction))
	e.str(r.Point)
	e.str(r.By)
	e.i64(r.Started)
	e.i64(r.Ended)
	e.u8(uint8(r.State))
	e.str(string(r.Holder))
	e.uvar(r.Term)
	e.uvar(uint64(len(r.Steps)))
	for i := range r.Steps {
		e.runStep(&r.Steps[i])
	}
}

func (d *decoder) run() *Run {
	r := &Run{Plan: d.str(maxName, "plan"), Number: d.uvar(), Version: d.uvar(), Text: d.bytes(MaxPlanText, "text"), Kind: d.runKind(),
		Direction: RunDirection(d.one(runDirections, "direction")), Point: d.str(maxAddr, "point"), By: d.str(maxAddr, "name"),
		Started: d.i64(), Ended: d.i64(), State: RunState(d.one(runStates, "state of a run")), Holder: d.nodeID(), Term: d.uvar()}
	for range d.count(MaxRunSteps, "number of steps") {
		if r.Steps = append(r.Steps, d.runStep()); d.err != nil {
			break
		}
	}
	return r
}

func (e *encoder) runStep(s *RunStep) {
	e.str(s.Key)
	e.u8(uint8(s.Type))
	e.u8(uint8(s.State))
	e.uvar(s.Attempt)
	e.str(string(s.Node))
	e.uvar(s.Mark)
	e.i64(s.Started)
	e.i64(s.Ended)
	e.str(s.By)
	e.str(s.Error)
	e.str(s.Hint)
	e.uvar(s.Bytes)
	e.bytes(s.Digest)
	e.bytes(s.Output)
}

func (d *decoder) runStep() RunStep {
	return RunStep{Key: d.str(MaxStepKey, "step"), Type: TaskType(d.one(taskTypes, "type of step")), State: TaskState(d.one(taskStates, "state of a step")),
		Attempt: d.uvar(), Node: d.nodeID(), Mark: d.uvar(), Started: d.i64(), Ended: d.i64(), By: d.str(maxAddr, "name"),
		Error: d.str(maxStepText, "error"), Hint: d.str(maxStepText, "hint"), Bytes: d.uvar(), Digest: d.bytes(maxDigest, "digest"),
		Output: d.bytes(MaxStepOutput, "output")}
}

const maxDigest = 32
