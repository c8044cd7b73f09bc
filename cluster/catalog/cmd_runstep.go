package catalog

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// AdvanceRun notes what happened to a run, or what an operator wants of it.
// Result: nil.
type AdvanceRun struct {
	Plan   string
	Number uint64
	Term   uint64 // of the holder that speaks; 0: an operator speaks
	Event  RunEvent
	Now    int64
	By     string
	// Undo of EventCancel: what the run did is taken back.
	Undo bool
	// Step says which step, and how it went. Its Key is enough for
	// EventConfirm and EventResume, which skips it.
	Step RunStep
}

// RunEvent is what happened to a run.
type RunEvent uint8

// The events of a run; the numbers are part of the format. Those of the holder:
const (
	EventBegin    RunEvent = 1 // a step begins: Key, Node, Mark
	EventFinish   RunEvent = 2 // and ends: Key, State, Error, Hint, Bytes, Digest, Output
	EventConclude RunEvent = 3 // nothing is left to do: the steps say how it went
	EventStop     RunEvent = 4 // it stops at an error
)

// Those of operators:
const (
	EventConfirm RunEvent = 5 // Key; State says whether it is confirmed or refused
	EventCancel  RunEvent = 6
	EventResume  RunEvent = 7
	EventCleanup RunEvent = 8
)

func (c AdvanceRun) kind() kind { return kindAdvanceRun }

func (c AdvanceRun) encode(e *encoder) {
	e.str(c.Plan)
	e.uvar(c.Number)
	e.uvar(c.Term)
	e.u8(uint8(c.Event))
	e.i64(c.Now)
	e.str(c.By)
	e.bool(c.Undo)
	e.runStep(&c.Step)
}

func decodeAdvanceRun(d *decoder) AdvanceRun {
	return AdvanceRun{Plan: d.str(maxName, "plan"), Number: d.uvar(), Term: d.uvar(), Event: RunEvent(d.u8()), Now: d.i64(), By: d.str(maxAddr, "name"),
		Undo: d.bool(), Step: d.runStep()}
}

func (c AdvanceRun) check() error {
	s := &c.Step
	operator := c.Event >= EventConfirm
	switch {
	case c.Event < EventBegin || c.Event > EventCleanup || operator != (c.Term == 0),
		len(s.Output) > MaxStepOutput, len(s.Error) > maxStepText, len(s.Hint) > maxStepText, len(s.Digest) > maxDigest,
		len(s.Key) > MaxStepKey, len(c.By) > maxAddr, len(s.Node) > maxName, len(s.By) > maxAddr,
		!valid(taskTypes, uint8(s.Type)) || !valid(taskStates, uint8(s.State)):
		return invalid("advance run", RunID(c.Plan, c.Number), fmt.Sprintf("event %d", c.Event))
	}
	return nil
}

func (c AdvanceRun) apply(s *state) (any, error) {
	k := runKey{c.Plan, c.Number}
	term := c.Term
	if r, ok := s.runs[k]; ok && c.Event >= EventConfirm {
		term = r.Term
	}
	old, err := s.runAt("advance run", k, term)
	if err != nil {
		return nil, err
	}
	r := *old
	r.Steps = slices.Clone(old.Steps)
	if err := c.on(s, &r); err != nil {
		return nil, err
	}
	s.runs[k] = &r
	s.forgetRuns()
	return nil, nil
}

func (c AdvanceRun) on(s *state, r *Run) error {
	switch c.Event {
	case EventBegin:
		return c.begin(r)
	case EventFinish:
		return c.finish(s, r)
	case EventConclude:
		return c.conclude(r)
	case EventStop:
		return c.enter(r, RunStopped, RunRunning)
	case EventConfirm:
		return c.confirm(s, r)
	case EventCancel:
		if c.Undo && r.Direction == RunFailback {
			return c.refuse(r, "a failback is not taken back; cancel it without undo")
		}
		if c.Undo || r.Kind == RunTest {
			return c.enter(r, RunUndoing, RunRunning, RunStopped, RunDone, RunFailed)
		}
		return c.enter(r, RunCancelled, RunRunning, RunStopped)
	case EventResume:
		return c.resume(r)
	}
	if r.Kind != RunTest {
		return c.refuse(r, "only test runs are cleaned up")
	}
	return c.enter(r, RunUndoing, RunDone, RunFailed, RunStopped)
}

// enter moves the run from one of the states to the next.
func (c AdvanceRun) enter(r *Run, to RunState, from ...RunState) error {
	if !slices.Contains(from, r.State) {
		return c.refuse(r, "not allowed now")
	}
	r.State, r.Ended = to, 0
	if to != RunRunning && to != RunUndoing {
		r.Ended = c.Now
	}
	return nil
}

func (c AdvanceRun) refuse(r *Run, why string) error {
	return fail("advance run", r.ID(), fmt.Errorf("it is %s: %s: %w", r.State, why, redoubt.ErrState), "redoubt plan status "+r.ID()+" shows it")
}

// step finds the step that the event is about, in one of the states.
func (c AdvanceRun) step(r *Run, in ...TaskState) (*RunStep, error) {
	st := r.Step(c.Step.Key)
	if st == nil {
		return nil, fail("advance run", r.ID(), fmt.Errorf("no step %q: %w", c.Step.Key, redoubt.ErrNotFound), "redoubt plan status "+r.ID()+" names the steps")
	}
	if !slices.Contains(in, st.State) {
		return nil, fail("advance run", r.ID(), fmt.Errorf("step %s is %s: %w", st.Key, st.State, redoubt.ErrState), "redoubt plan status "+r.ID()+" shows it")
	}
	return st, nil
}

// begin notes that a step is carried out, also again after a crash or, in a
// cleanup, a failure.
func (c AdvanceRun) begin(r *Run) error {
	if r.State != RunRunning && r.State != RunUndoing {
		return c.refuse(r, "no step begins")
	}
	st, err := c.step(r, TaskPending, TaskRunning, TaskWaiting, TaskFailed)
	if err != nil {
		return err
	}
	if st.Type.undoing() != (r.State == RunUndoing) || st.State == TaskFailed && r.State == RunRunning {
		return c.refuse(r, "step "+st.Key+" is none of this phase")
	}
	mark, started := st.Mark, st.Started
	if st.Attempt == 0 {
		mark = c.Step.Mark
	}
	if st.State != TaskWaiting { // a confirmation waits on after a crash
		started = c.Now
	}
	*st = RunStep{Key: st.Key, Type: st.Type, State: TaskRunning, Attempt: st.Attempt + 1, Node: c.Step.Node, Mark: mark, Started: started}
	if st.Type == TaskConfirm {
		st.State = TaskWaiting
	}
	return nil
}

// finish notes how a step went. That is taken in every state of the run, so
// that a cancelled one still tells what happened.
func (c AdvanceRun) finish(s *state, r *Run) error {
	st, err := c.step(r, TaskRunning, TaskWaiting)
	if err != nil {
		return err
	}
	if c.Step.State != TaskDone && c.Step.State != TaskFailed {
		return invalid("advance run", r.ID(), "a step ends done or failed")
	}
	st.State, st.Ended, st.Error, st.Hint, st.Bytes, st.Digest = c.Step.State, c.Now, c.Step.Error, c.Step.Hint, c.Step.Bytes, c.Step.Digest
	if r.outputs()+len(c.Step.Output) <= MaxRunOutput {
		st.Output = c.Step.Output
	}
	if c.Step.Node != "" {
		st.Node = c.Step.Node
	}
	s.measured(r, st)
	return nil
}

// measured keeps how long a step took that went well at the first attempt.
func (s *state) measured(r *Run, st *RunStep) {
	p, ok := s.plans[r.Plan]
	took := time.Duration(st.Ended - st.Started)
	if !ok || st.State != TaskDone || st.Attempt > 1 || took < 0 || took > maxSpan || p.Took[st.Key] == nil && len(p.Took) >= maxTimed {
		return
	}
	next := *p
	next.Took = maps.Clone(p.Took)
	if next.Took == nil {
		next.Took = map[string][]Timing{}
	}
	all := append(slices.Clone(p.Took[st.Key]), Timing{Kind: r.Kind, Took: took})
	next.Took[st.Key] = all[max(0, len(all)-keptTimes):]
	s.plans[r.Plan] = &next
}

func (c AdvanceRun) conclude(r *Run) error {
	failed := false
	for i := range r.Steps {
		st := &r.Steps[i]
		if st.Type.undoing() != (r.State == RunUndoing) {
			continue
		}
		if st.State == TaskRunning || st.State == TaskWaiting {
			return c.refuse(r, "step "+st.Key+" is "+st.State.String())
		}
		failed = failed || st.State == TaskFailed
	}
	switch {
	case r.State == RunUndoing:
		return c.enter(r, RunUndone, RunUndoing)
	case failed:
		return c.enter(r, RunFailed, RunRunning)
	}
	return c.enter(r, RunDone, RunRunning)
}

func (c AdvanceRun) confirm(s *state, r *Run) error {
	if r.State != RunRunning {
		return c.refuse(r, "nothing is to be confirmed")
	}
	st, err := c.step(r, TaskWaiting)
	if err != nil {
		return err
	}
	st.State, st.Ended, st.By = TaskDone, c.Now, c.By
	if c.Step.State == TaskFailed {
		st.State, st.Error = TaskFailed, "refused by "+c.By
		st.Error = st.Error[:min(len(st.Error), maxStepText)]
	}
	s.measured(r, st)
	return nil
}

// resume goes on with what failed; the step that is named is passed over.
func (c AdvanceRun) resume(r *Run) error {
	if r.Kind == RunTest && r.State == RunFailed || r.State == RunStopped || r.State == RunFailed {
		if c.Step.Key != "" {
			st, err := c.step(r, TaskFailed)
			if err != nil {
				return err
			}
			st.State, st.By = TaskSkipped, c.By
		}
		for i := range r.Steps {
			if st := &r.Steps[i]; st.State == TaskFailed && !st.Type.undoing() {
				*st = RunStep{Key: st.Key, Type: st.Type, State: TaskPending, Attempt: st.Attempt, Mark: st.Mark}
			}
		}
	}
	return c.enter(r, RunRunning, RunStopped, RunFailed)
}
