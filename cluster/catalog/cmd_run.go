package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

type runKey struct {
	plan   string
	number uint64
}

func (r *Run) key() runKey { return runKey{r.Plan, r.Number} }

// StartRun begins a run of a plan; Holder carries it out. It names the run's
// number, the plan's last one + 1, so that a second one is refused with
// redoubt.ErrExists. Result: nil.
type StartRun struct {
	Plan      string
	Version   uint64 // of the plan that the steps were made from
	Number    uint64
	Kind      RunKind
	Direction RunDirection
	Point     string
	By        string
	Holder    redoubt.NodeID
	Now       int64
	Steps     []NewStep
}

// NewStep is a step of a run that begins.
type NewStep struct {
	Key  string
	Type TaskType
}

func (c StartRun) kind() kind { return kindStartRun }

func (c StartRun) encode(e *encoder) {
	e.str(c.Plan)
	e.uvar(c.Version)
	e.uvar(c.Number)
	e.u8(uint8(c.Kind))
	e.u8(uint8(c.Direction))
	e.str(c.Point)
	e.str(c.By)
	e.str(string(c.Holder))
	e.i64(c.Now)
	e.uvar(uint64(len(c.Steps)))
	for _, s := range c.Steps {
		e.str(s.Key)
		e.u8(uint8(s.Type))
	}
}

func decodeStartRun(d *decoder) Command {
	c := StartRun{Plan: d.str(maxName, "plan"), Version: d.uvar(), Number: d.uvar(), Kind: d.runKind(), Direction: RunDirection(d.one(runDirections, "direction")),
		Point: d.str(maxAddr, "point"), By: d.str(maxAddr, "name"), Holder: d.nodeID(), Now: d.i64()}
	for range d.count(MaxRunSteps, "number of steps") {
		if c.Steps = append(c.Steps, NewStep{Key: d.str(MaxStepKey, "step"), Type: TaskType(d.one(taskTypes, "type of step"))}); d.err != nil {
			break
		}
	}
	return c
}

func (c StartRun) check() error {
	keys := map[string]bool{}
	for _, s := range c.Steps {
		if s.Key == "" || len(s.Key) > MaxStepKey || keys[s.Key] || !valid(taskTypes, uint8(s.Type)) {
			return invalid("start run of plan", c.Plan, fmt.Sprintf("step %q", s.Key))
		}
		keys[s.Key] = true
	}
	if len(c.Steps) == 0 || len(c.Steps) > MaxRunSteps || len(c.Point) > maxAddr || len(c.By) > maxAddr {
		return invalid("start run of plan", c.Plan, fmt.Sprintf("%d steps; 1 to %d", len(c.Steps), MaxRunSteps))
	}
	if !valid(runKinds, uint8(c.Kind)) || !valid(runDirections, uint8(c.Direction)) || c.Direction == RunFailback && c.Kind != RunPlanned {
		return invalid("start run of plan", c.Plan, fmt.Sprintf("kind %s, direction %s", c.Kind, c.Direction))
	}
	return redoubt.ValidName("node", string(c.Holder))
}

func (c StartRun) apply(s *state) (any, error) {
	const op = "start run of plan"
	p, err := s.recoveryPlan(c.Plan, op)
	if err != nil {
		return nil, err
	}
	if c.Version != p.Version || c.Number != p.Runs+1 {
		return nil, fail(op, c.Plan, fmt.Errorf("it is version %d with %d runs now: %w", p.Version, p.Runs, redoubt.ErrExists), "somebody else changed or started it; look at it again")
	}
	tests := 0
	for _, r := range s.runsOf(c.Plan) {
		switch {
		case !r.Open():
		case r.Kind == RunTest:
			tests++
		case c.Kind != RunTest:
			return nil, beside(op, c.Plan, r)
		}
	}
	if c.Kind == RunTest && tests >= openTests {
		return nil, fail(op, c.Plan, fmt.Errorf("%d test runs are not cleaned up: %w", tests, redoubt.ErrState), "redoubt plan cleanup RUN")
	}
	next := *p
	next.Runs++
	s.plans[c.Plan] = &next
	r := &Run{Plan: c.Plan, Number: c.Number, Version: p.Version, Text: p.Text, Kind: c.Kind, Direction: c.Direction, Point: c.Point, By: c.By,
		Started: c.Now, State: RunRunning, Holder: c.Holder, Term: 1}
	for _, st := range c.Steps {
		r.Steps = append(r.Steps, RunStep{Key: st.Key, Type: st.Type, State: TaskPending})
	}
	s.runs[r.key()] = r
	s.forgetRuns()
	return nil, nil
}

// forgetRuns drops the oldest runs that are over: of each plan beyond keptRuns, of
// all beyond keptRunBytes.
func (s *state) forgetRuns() {
	over := slices.DeleteFunc(slices.Collect(maps.Values(s.runs)), func(r *Run) bool { return r.Open() })
	slices.SortFunc(over, func(a, b *Run) int { // the newest first
		return cmp.Or(cmp.Compare(b.Started, a.Started), cmp.Compare(a.Plan, b.Plan), cmp.Compare(b.Number, a.Number))
	})
	of, size := map[string]int{}, 0
	for _, r := range over {
		of[r.Plan]++
		size += r.size()
		if of[r.Plan] > keptRuns || size > keptRunBytes {
			delete(s.runs, r.key())
		}
	}
}

// runsOf returns a plan's runs by number.
func (s *state) runsOf(plan string) (out []*Run) {
	for k, r := range s.runs {
		if k.plan == plan {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Run) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// ClaimRun makes Node the holder of a run under a new term, in place of the
// one of term Term. Result: nil.
type ClaimRun struct {
	Plan   string
	Number uint64
	Node   redoubt.NodeID
	Term   uint64 // that it replaces
}

func (c ClaimRun) kind() kind { return kindClaimRun }

func (c ClaimRun) encode(e *encoder) {
	e.str(c.Plan)
	e.uvar(c.Number)
	e.str(string(c.Node))
	e.uvar(c.Term)
}

func decodeClaimRun(d *decoder) Command {
	return ClaimRun{Plan: d.str(maxName, "plan"), Number: d.uvar(), Node: d.nodeID(), Term: d.uvar()}
}

func (c ClaimRun) check() error { return redoubt.ValidName("node", string(c.Node)) }

func (c ClaimRun) apply(s *state) (any, error) {
	r, err := s.runAt("claim run", runKey{c.Plan, c.Number}, c.Term)
	if err != nil {
		return nil, err
	}
	next := *r
	next.Holder, next.Term = c.Node, r.Term+1
	s.runs[r.key()] = &next
	return nil, nil
}

// runAt returns a run, and refuses whoever speaks of another term.
func (s *state) runAt(op string, k runKey, term uint64) (*Run, error) {
	r, ok := s.runs[k]
	if !ok {
		return nil, fail(op, RunID(k.plan, k.number), redoubt.ErrNotFound, "redoubt plan list shows the runs")
	}
	if r.Term != term {
		return nil, fail(op, r.ID(), fmt.Errorf("term %d, the current one is %d: %w", term, r.Term, redoubt.ErrFenced), "node "+string(r.Holder)+" carries it out")
	}
	return r, nil
}
