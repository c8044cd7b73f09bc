package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

func putPlan(name, text string) PutRecoveryPlan {
	return PutRecoveryPlan{Name: name, Text: []byte(text), By: "operator/ann", Now: 1000}
}

func startRun(plan string, number uint64, k RunKind) StartRun {
	return StartRun{Plan: plan, Version: 1, Number: number, Kind: k, Direction: RunFailover, Point: "latest", By: "operator/ann", Holder: "n1", Now: 2000,
		Steps: []NewStep{{"s/pre/ask", TaskConfirm}, {"s/group/g", TaskGroup}, {"s/post/up", TaskScript}, {"s/cleanup/down", TaskSweep}, {"s/close/g", TaskClose}}}
}

// advance makes a valid event; what it does not need of the step is filled in.
func advance(plan string, number, term uint64, ev RunEvent, st RunStep) AdvanceRun {
	if st.Type == 0 {
		st.Type = TaskScript
	}
	if st.State == 0 {
		st.State = TaskPending
	}
	c := AdvanceRun{Plan: plan, Number: number, Term: term, Event: ev, Now: 3000, By: "operator/bob", Step: st}
	return c
}

func recoverySeeds() []Command {
	return []Command{putPlan("p", "text"), startRun("p", 1, RunTest), ClaimRun{Plan: "p", Number: 1, Node: "n2", Term: 1},
		advance("p", 1, 1, EventFinish, RunStep{Key: "s/group/g", State: TaskDone, Output: []byte("x")}),
		ReopenRun(advance("p", 1, 0, EventResume, RunStep{}))}
}

// runBed drives one run of plan p.
type runBed struct {
	*machine
	number, term uint64
	now          int64
}

func newRunBed(t testing.TB, k RunKind) *runBed {
	b := &runBed{machine: newMachine(t, 3), number: 1, term: 1, now: 3000}
	b.must(putPlan("p", "text"))
	b.must(startRun("p", 1, k))
	return b
}

func (b *runBed) event(ev RunEvent, key string, state TaskState) AdvanceRun {
	b.now += int64(time.Second)
	c := advance("p", b.number, b.term, ev, RunStep{Key: key, State: state})
	if ev >= EventConfirm {
		c.Term = 0
	}
	c.Now = b.now
	return c
}

func (b *runBed) step(key string, state TaskState) {
	b.must(b.event(EventBegin, key, 0))
	b.must(b.event(EventFinish, key, state))
}

func (b *runBed) run() *Run { return b.s.runs[runKey{"p", b.number}] }

func (b *runBed) is(want RunState) {
	b.t.Helper()
	if got := b.run().State; got != want {
		b.t.Fatalf("the run is %s, want %s", got, want)
	}
}

func TestPlanVersions(t *testing.T) {
	m := newMachine(t, 1)
	m.must(putPlan("p", "one"))
	m.must(putPlan("p", "one")) // the same text is the same version
	if p := m.s.plans["p"]; p.Version != 1 || string(p.Text) != "one" {
		t.Fatalf("%+v", p)
	}
	c := putPlan("p", "two")
	c.Replaces = 1
	m.must(c)
	c.Text = []byte("three")
	m.refused(c, redoubt.ErrExists)
	m.refused(putPlan("q", ""), redoubt.ErrNotFound)
	m.refused(PutRecoveryPlan{Name: "../q", Text: []byte("x")}, redoubt.ErrInvalid)
	if err := (PutRecoveryPlan{Name: "q", Text: make([]byte, MaxPlanText+1)}).check(); !errors.Is(err, redoubt.ErrInvalid) {
		t.Error(err)
	}
	for i := range MaxRecoveryPlans - 1 {
		m.must(putPlan(fmt.Sprint("x", i), "t"))
	}
	m.refused(putPlan("q", "one too many"), redoubt.ErrState)
	run := startRun("p", 1, RunPlanned)
	m.refused(run, redoubt.ErrExists) // of version 1
	run.Version = 2
	m.must(run)
	m.refused(putPlan("p", ""), redoubt.ErrState)
	m.must(AdvanceRun{Plan: "p", Number: 1, Event: EventCancel, Step: RunStep{Type: TaskScript, State: TaskPending}})
	m.must(putPlan("p", ""))
	if len(m.s.runs) != 0 || m.s.plans["p"] != nil {
		t.Error("a deleted plan left something")
	}
}

func TestRunGoesThroughItsSteps(t *testing.T) {
	b := newRunBed(t, RunPlanned)
	b.refused(startRun("p", 2, RunUnplanned), redoubt.ErrState)              // one at a time
	b.refused(startRun("p", 1, RunTest), redoubt.ErrExists)                  // the number is taken
	b.refused(b.event(EventFinish, "s/group/g", TaskDone), redoubt.ErrState) // did not begin
	b.refused(b.event(EventBegin, "nosuch", 0), redoubt.ErrNotFound)
	b.refused(b.event(EventBegin, "s/close/g", 0), redoubt.ErrState) // not of this phase
	b.refused(b.event(EventConfirm, "s/pre/ask", TaskDone), redoubt.ErrState)

	b.must(b.event(EventBegin, "s/pre/ask", 0))
	asked := b.run().Step("s/pre/ask").Started
	b.must(b.event(EventBegin, "s/pre/ask", 0)) // after a crash: its time limit runs on
	if st := b.run().Step("s/pre/ask"); st.State != TaskWaiting || st.Started != asked {
		t.Errorf("%+v", st)
	}
	b.refused(b.event(EventConclude, "", 0), redoubt.ErrState)
	b.must(b.event(EventConfirm, "s/pre/ask", TaskDone))
	if st := b.run().Step("s/pre/ask"); st.By != "operator/bob" || st.State != TaskDone {
		t.Errorf("%+v", st)
	}
	b.refused(b.event(EventConfirm, "s/pre/ask", TaskDone), redoubt.ErrState)

	begin := b.event(EventBegin, "s/group/g", 0)
	begin.Step.Mark = 7
	b.must(begin)
	begin.Step.Mark = 8 // after a crash: the epoch before the first attempt counts
	b.must(begin)
	b.must(b.event(EventFinish, "s/group/g", TaskFailed))
	if st := b.run().Step("s/group/g"); st.Mark != 7 || st.Attempt != 2 {
		t.Errorf("%+v", st)
	}
	b.must(b.event(EventStop, "", 0))
	b.is(RunStopped)
	b.refused(b.event(EventBegin, "s/post/up", 0), redoubt.ErrState)
	b.refused(b.event(EventCleanup, "", 0), redoubt.ErrState)
	b.must(b.event(EventResume, "", 0))
	b.is(RunRunning)
	b.step("s/group/g", TaskDone)
	b.step("s/post/up", TaskFailed)
	b.must(b.event(EventStop, "", 0))
	b.must(b.event(EventResume, "s/post/up", 0)) // passed over
	b.must(b.event(EventConclude, "", 0))
	b.is(RunDone)
	if b.run().Ended == 0 || b.run().Open() {
		t.Errorf("%+v", b.run())
	}
	if took := b.s.plans["p"].Took; len(took) != 0 {
		t.Errorf("what failed or was done again was measured: %v", took)
	}
}

func TestOnlyTheHolderSpeaks(t *testing.T) {
	b := newRunBed(t, RunTest)
	b.refused(ClaimRun{Plan: "p", Number: 1, Node: "n2", Term: 2}, redoubt.ErrFenced)
	b.refused(ClaimRun{Plan: "p", Number: 9, Node: "n2", Term: 1}, redoubt.ErrNotFound)
	b.must(ClaimRun{Plan: "p", Number: 1, Node: "n2", Term: 1})
	b.refused(ClaimRun{Plan: "p", Number: 1, Node: "n3", Term: 1}, redoubt.ErrFenced)
	b.refused(b.event(EventBegin, "s/group/g", 0), redoubt.ErrFenced)
	b.term = 2
	b.must(b.event(EventBegin, "s/group/g", 0))
	stale := b.event(EventStop, "", 0)
	stale.Term = 0 // as if an operator said so
	b.refused(stale, redoubt.ErrInvalid)
}

func TestTestRunIsCleanedUp(t *testing.T) {
	b := newRunBed(t, RunTest)
	b.must(startRun("p", 2, RunUnplanned)) // a test is in nobody's way
	b.must(b.event(EventBegin, "s/group/g", 0))
	b.must(b.event(EventCancel, "", 0))
	b.is(RunUndoing)
	b.must(b.event(EventFinish, "s/group/g", TaskFailed)) // what was under way still tells how it went
	b.refused(b.event(EventBegin, "s/post/up", 0), redoubt.ErrState)
	b.step("s/cleanup/down", TaskFailed)
	b.step("s/close/g", TaskFailed)
	b.step("s/close/g", TaskDone) // a cleanup tries again
	b.refused(b.event(EventResume, "", 0), redoubt.ErrState)
	b.must(b.event(EventConclude, "", 0))
	b.is(RunUndone)
	for n := uint64(3); n < 3+openTests; n++ {
		b.must(startRun("p", n, RunTest))
	}
	b.refused(startRun("p", 3+openTests, RunTest), redoubt.ErrState)
}

func TestRunsAreBounded(t *testing.T) {
	b := newRunBed(t, RunUnplanned)
	out := b.event(EventFinish, "s/post/up", TaskDone)
	out.Step.Output = bytes.Repeat([]byte("x"), MaxStepOutput+1)
	if err := out.check(); !errors.Is(err, redoubt.ErrInvalid) {
		t.Error(err)
	}
	for b.number = 1; b.number <= keptRuns+5; b.number++ {
		if b.number > 1 {
			c := startRun("p", b.number, RunUnplanned)
			c.Now += int64(b.number)
			b.must(c)
		}
		b.must(b.event(EventBegin, "s/post/up", 0))
		out := b.event(EventFinish, "s/post/up", TaskDone)
		out.Step.Output, out.Step.Bytes = bytes.Repeat([]byte("x"), MaxStepOutput), 99
		b.must(out)
		b.must(b.event(EventCancel, "", 0))
	}
	if n := len(b.s.runs); n != keptRuns {
		t.Errorf("%d runs are kept", n)
	}
	if b.s.runs[runKey{"p", 1}] != nil || b.s.runs[runKey{"p", keptRuns + 5}] == nil {
		t.Error("the oldest were to go")
	}
	took := b.s.plans["p"].Took["s/post/up"]
	if len(took) != keptTimes || took[0] != (Timing{RunUnplanned, time.Second}) {
		t.Errorf("measurements: %v", took)
	}
	again := reload(t, b.s)
	if !reflect.DeepEqual(again.plans, b.s.plans) || !reflect.DeepEqual(again.runs, b.s.runs) {
		t.Error("a snapshot changed something")
	}
}

func TestOutputOfARunIsBounded(t *testing.T) {
	m := newMachine(t, 1)
	m.must(putPlan("p", "text"))
	c := startRun("p", 1, RunUnplanned)
	c.Steps = nil
	for i := range MaxRunSteps {
		c.Steps = append(c.Steps, NewStep{fmt.Sprint("s/post/", i), TaskScript})
	}
	m.must(c)
	for i := range MaxRunOutput/MaxStepOutput + 3 {
		key := fmt.Sprint("s/post/", i)
		m.must(advance("p", 1, 1, EventBegin, RunStep{Key: key}))
		m.must(advance("p", 1, 1, EventFinish, RunStep{Key: key, State: TaskDone, Output: make([]byte, MaxStepOutput), Bytes: MaxStepOutput}))
	}
	r := m.s.runs[runKey{"p", 1}]
	if n := r.outputs(); n != MaxRunOutput {
		t.Errorf("%d bytes are kept", n)
	}
	if last := r.Steps[MaxRunOutput/MaxStepOutput]; last.Output != nil || last.Bytes != MaxStepOutput {
		t.Errorf("what is too much keeps its length: %+v", last)
	}
}

func TestFailbackIsNotTakenBack(t *testing.T) {
	m := newMachine(t, 1)
	m.must(putPlan("p", "text"))
	c := startRun("p", 1, RunUnplanned)
	c.Direction = RunFailback
	if err := c.check(); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("an unplanned failback: %v", err)
	}
	c.Kind = RunPlanned
	m.must(c)
	cancel := advance("p", 1, 0, EventCancel, RunStep{})
	cancel.Undo = true
	m.refused(cancel, redoubt.ErrState)
	cancel.Undo = false
	m.must(cancel)
}

// A run that is over does not go on beside another one: both would move the same
// groups.
func TestOneRunAtATimeGoesOn(t *testing.T) {
	b := newRunBed(t, RunUnplanned)
	b.step("s/group/g", TaskFailed)
	b.must(b.event(EventConclude, "", 0))
	b.is(RunFailed)
	b.must(startRun("p", 2, RunPlanned))
	resume, undo := ReopenRun(b.event(EventResume, "", 0)), ReopenRun(b.event(EventCancel, "", 0))
	b.refused(undo, redoubt.ErrInvalid) // it would end the run
	undo.Undo = true
	b.refused(resume, redoubt.ErrState)
	b.refused(undo, redoubt.ErrState)
	b.is(RunFailed)
	b.must(startRun("p", 3, RunTest)) // a test is in nobody's way
	b.number = 2
	b.must(b.event(EventStop, "", 0))
	b.must(ReopenRun(b.event(EventResume, "", 0)))
	b.must(b.event(EventCancel, "", 0))
	b.is(RunCancelled)
	b.must(resume)
	b.number = 1
	b.is(RunRunning)
	b.must(b.event(EventConclude, "", 0))
	b.must(undo)
	b.is(RunUndoing)
}

func TestRunID(t *testing.T) {
	if p, n, err := ParseRunID("a-b/17"); err != nil || p != "a-b" || n != 17 {
		t.Errorf("%s %d %v", p, n, err)
	}
	for _, s := range []string{"", "a", "a/", "a/0", "a/01", "a/-1", "/1", "a/1/2", "a b/1", "a/99999999999999999999"} {
		if _, _, err := ParseRunID(s); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
