package catalog

import (
	"crypto/sha256"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// StepJob records that a step is done, with its effect on the group, or how far
// it is. Result: the Group.
//
// ErrFenced if another driver has claimed the job; ErrState if Step is not the
// one under way.
type StepJob struct {
	Job         JobRef
	Term        uint64
	Step        JobStep // the one under way
	Finish      bool    // it is done; false: Done and Total are its progress
	Do          Command // nil, or the step's effect; only with Finish
	Note        string
	Held        int64 // nanoseconds that nobody could write; 0: no news
	Done, Total uint64
	Now         int64
}

func (c StepJob) kind() kind { return kindStepJob }

func (c StepJob) encode(e *encoder) {
	e.jobRef(c.Job)
	e.uvar(c.Term)
	e.u8(uint8(c.Step))
	e.bool(c.Finish)
	e.effect(c.Do)
	e.str(c.Note)
	e.i64(c.Held)
	e.uvar(c.Done)
	e.uvar(c.Total)
	e.i64(c.Now)
}

func decodeStepJob(d *decoder) Command {
	return StepJob{Job: d.jobRef(), Term: d.uvar(), Step: JobStep(d.u8()), Finish: d.bool(), Do: d.effect(), Note: d.note("note"),
		Held: d.i64(), Done: d.uvar(), Total: d.uvar(), Now: d.i64()}
}

func (c StepJob) check() error {
	if c.Term == 0 || c.Step == StepNone || c.Do != nil && !c.Finish || len(c.Note) > MaxNote {
		return invalid("step of job of group", string(c.Job.Group), "bad term, step or note")
	}
	if err := checkEffect(c.Do, c.Job.Group); err != nil {
		return err
	}
	return c.Job.check()
}

func (c StepJob) apply(s *state) (any, error) {
	const op = "step of job"
	js, j, err := s.job(op, c.Job, c.Term)
	if err != nil {
		return nil, err
	}
	if j.Step != c.Step {
		return nil, s.jobError(op, c.Job.Group, c.Job.ID, fmt.Errorf("step %s, the job is at %s: %w", c.Step, j.Step, redoubt.ErrState), "")
	}
	if err := j.mayDo(c.Do, c.Finish); err != nil {
		return nil, err
	}
	if c.Do != nil {
		if _, err := c.Do.apply(s); err != nil {
			return nil, err
		}
	}
	n := *j
	n.Done, n.Total = c.Done, c.Total
	if c.Held != 0 {
		n.Held = c.Held
	}
	if c.Finish {
		n = n.did(c.Now, c.Note, n.Kind.after(n.Step))
		if n.Step == StepNone {
			n = n.over(JobDoneWell, c.Now, "", "")
		}
	}
	s.putJob(js, n)
	return *s.groups[c.Job.Group], nil
}

// mayDo holds a step against what the source has told: nothing is promoted but
// its last write, and only after that was compared.
func (j *Job) mayDo(do Command, finish bool) error {
	bad := func(why string) error {
		return fail("step of job", fmt.Sprintf("%s/%d", j.Group, j.ID), fmt.Errorf("%s: %w", why, redoubt.ErrState), "")
	}
	p, promotes := do.(Promote)
	if finish && promotes != (j.Step == StepPromote || j.Step == StepSwitch) {
		return bad("step " + j.Step.String() + " and its effect do not fit")
	}
	if do != nil && !promotes && j.Step != StepCancel && j.Step != StepReverse && j.Step != StepCommit {
		return bad("step " + j.Step.String() + " changes nothing of the group")
	}
	if j.Kind != JobPlanned {
		return nil
	}
	switch {
	case finish && (j.Step == StepShip || j.Step == StepQuiesce):
		return bad("the source ends step " + j.Step.String())
	case promotes && (p.Kind != PromotePlanned || j.Head == 0 || p.Point != redoubt.Position{Epoch: j.Epoch, LSN: j.Head}):
		return bad(fmt.Sprintf("%s at %s is not what the source stopped at, %d:%d", p.Kind, p.Point, j.Epoch, j.Head))
	}
	return nil
}

// EndJob ends a job before its last step. Term 0 is an operator's word: it is
// allowed at every step but StepExport, and what the job has done so far stands. A group that
// is StateFailingOver because of the job goes back to where it was. Result: the Group.
type EndJob struct {
	Job         JobRef
	Term        uint64
	State       JobState // JobFailed or JobCancelled
	Error, Hint string
	Now         int64
}

func (c EndJob) kind() kind { return kindEndJob }

func (c EndJob) encode(e *encoder) {
	e.jobRef(c.Job)
	e.uvar(c.Term)
	e.u8(uint8(c.State))
	e.str(c.Error)
	e.str(c.Hint)
	e.i64(c.Now)
}

func decodeEndJob(d *decoder) Command {
	return EndJob{Job: d.jobRef(), Term: d.uvar(), State: JobState(d.u8()), Error: d.note("error"), Hint: d.note("hint"), Now: d.i64()}
}

func (c EndJob) check() error {
	if c.State != JobFailed && c.State != JobCancelled || len(c.Error) > MaxNote || len(c.Hint) > MaxNote {
		return invalid("end job of group", string(c.Job.Group), "bad state or text")
	}
	return c.Job.check()
}

func (c EndJob) apply(s *state) (any, error) {
	js, j, err := s.job("end job", c.Job, c.Term)
	if err != nil {
		return nil, err
	}
	if j.Step == StepExport {
		return nil, s.jobError("end job", j.Group, j.ID, fmt.Errorf("it has promoted the secondary: %w", redoubt.ErrState),
			"another point, or the way back: redoubt failover change|cancel "+string(j.Group))
	}
	s.endJob(js, *j, c)
	return *s.groups[c.Job.Group], nil
}

// endJob ends j. As long as its source may be stopped, the job is
// JobCancelling: TellJob says when the source goes on.
func (s *state) endJob(js *Jobs, j Job, c EndJob) {
	stopped := j.Kind == JobPlanned && !j.Promoted() && j.Step != StepShip
	if g := s.groups[j.Group]; j.Kind == JobPlanned && !j.Promoted() && g.State == StateFailingOver {
		n := *g
		n.State = n.Prior
		n.settle()
		s.put(&n)
	}
	step := j.Step
	j = j.over(c.State, c.Now, c.Error, c.Hint)
	if stopped {
		j.State, j.Outcome, j.Step = JobCancelling, c.State, step
	}
	s.putJob(js, j)
}

// Told is what a source says of a planned failover.
type Told uint8

// What a source may tell. The numbers are part of the stored formats.
const (
	ToldProgress Told = 1 // it ships; Head and Acked are how far
	ToldReady    Told = 2 // it is close behind: it may be stopped
	ToldStopped  Told = 3 // it takes no writes; Head is its last one, for good
	ToldRefused  Told = 4 // it does not stop, or wants to go on: the job shall end
	ToldResumed  Told = 5 // it goes on after the job's end
)

// TellJob is the source's word. What comes late or twice changes nothing.
// Result: nil.
type TellJob struct {
	Job   JobRef
	What  Told
	Head  redoubt.LSN
	Acked redoubt.LSN
	Held  int64 // nanoseconds since it stopped
	Sum   []byte
	Proof []ProofExtent
	Why   string // of ToldRefused
	Hint  string
	Now   int64
}

func (c TellJob) kind() kind { return kindTellJob }

func (c TellJob) encode(e *encoder) {
	e.jobRef(c.Job)
	e.u8(uint8(c.What))
	e.lsn(c.Head)
	e.lsn(c.Acked)
	e.i64(c.Held)
	e.bytes(c.Sum)
	e.proof(c.Proof)
	e.str(c.Why)
	e.str(c.Hint)
	e.i64(c.Now)
}

func decodeTellJob(d *decoder) Command {
	return TellJob{Job: d.jobRef(), What: Told(d.u8()), Head: d.lsn(), Acked: d.lsn(), Held: d.i64(), Sum: d.bytes(sha256.Size, "hash"),
		Proof: d.proof(), Why: d.note("reason"), Hint: d.note("hint"), Now: d.i64()}
}

func (c TellJob) check() error {
	if c.What < ToldProgress || c.What > ToldResumed || len(c.Proof) > MaxProof || len(c.Why) > MaxNote || len(c.Hint) > MaxNote ||
		c.What == ToldStopped && (c.Head == 0 || len(c.Sum) != sha256.Size) {
		return invalid("tell of job of group", string(c.Job.Group), "bad news")
	}
	return c.Job.check()
}

func (c TellJob) apply(s *state) (any, error) {
	js := s.jobs[c.Job.Group]
	j := js.find(c.Job.ID)
	if j == nil || j.Kind != JobPlanned {
		return nil, s.jobError("tell of job", c.Job.Group, c.Job.ID, redoubt.ErrNotFound, "")
	}
	n := *j
	switch {
	case c.What == ToldResumed && j.State == JobCancelling:
		text, hint, out := j.Error, j.Hint, j.Outcome
		n = n.did(c.Now, c.Why, StepNone)
		n.Steps[len(n.Steps)-1].Step = StepResume
		n = n.over(out, j.Ended, text, hint)
	case !j.Running():
		return nil, nil
	case c.What == ToldRefused && !j.Promoted():
		s.endJob(js, n, EndJob{State: JobFailed, Error: c.Why, Hint: c.Hint, Now: c.Now})
		return nil, nil
	case c.What == ToldProgress && j.Step == StepShip:
		n.Done, n.Total = uint64(c.Acked), uint64(c.Head)
	case c.What == ToldReady && j.Step == StepShip:
		n = n.did(c.Now, fmt.Sprintf("the secondary has %d of %d writes", c.Acked, c.Head), StepQuiesce)
	case c.What == ToldStopped && j.Step == StepQuiesce:
		n = n.did(c.Now, fmt.Sprintf("the source stopped at %d:%d", j.Epoch, c.Head), StepDrain)
		n.Head, n.Held, n.Sum, n.Proof = c.Head, c.Held, c.Sum, c.Proof
	default:
		return nil, nil
	}
	s.putJob(js, n)
	return nil, nil
}
