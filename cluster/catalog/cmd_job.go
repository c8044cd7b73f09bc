package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// BeginJob makes a job, driven by Node with the first term. With Do its first
// step is done at once: both happen or neither. Result: the Group.
//
// ErrState if the table does not allow the operation or another job is under
// way; ErrFenced if the ID is taken: another operator was faster.
type BeginJob struct {
	Job     JobRef // ID: Catalog.NextJob
	Kind    JobKind
	By      string
	Node    redoubt.NodeID
	Fixed   bool
	Epoch   redoubt.Epoch // the group's current one
	Limit   int64         // nanoseconds; 0: none
	Hydrate bool
	Do      Command // nil, or the effect of the first step
	Note    string  // what the first step did
	Now     int64
}

func (c BeginJob) kind() kind { return kindBeginJob }

func (c BeginJob) encode(e *encoder) {
	e.jobRef(c.Job)
	e.u8(uint8(c.Kind))
	e.str(c.By)
	e.str(string(c.Node))
	e.bool(c.Fixed)
	e.uvar(uint64(c.Epoch))
	e.i64(c.Limit)
	e.bool(c.Hydrate)
	e.effect(c.Do)
	e.str(c.Note)
	e.i64(c.Now)
}

func decodeBeginJob(d *decoder) Command {
	return BeginJob{Job: d.jobRef(), Kind: JobKind(d.u8()), By: d.note("name"), Node: d.nodeID(), Fixed: d.bool(), Epoch: d.epoch(),
		Limit: d.i64(), Hydrate: d.bool(), Do: d.effect(), Note: d.note("note"), Now: d.i64()}
}

func (c BeginJob) check() error {
	if c.Kind.Steps() == nil || len(c.By) > MaxNote || len(c.Note) > MaxNote || c.Limit < 0 {
		return invalid("begin job of group", string(c.Job.Group), "bad kind, limit or text")
	}
	if err := checkEffect(c.Do, c.Job.Group); err != nil {
		return err
	}
	if err := redoubt.ValidName("node", string(c.Node)); err != nil {
		return err
	}
	return c.Job.check()
}

// checkEffect checks what a job's command carries.
func checkEffect(c Command, id redoubt.GroupID) error {
	if c == nil {
		return nil
	}
	if !c.kind().isEffect() || groupOf(c) != id {
		return invalid("change group", string(id), c.kind().String()+" is no part of its job")
	}
	return c.check()
}

func groupOf(c Command) redoubt.GroupID {
	switch c := c.(type) {
	case Promote:
		return c.Group
	case CommitFailover:
		return c.Group
	case CancelFailover:
		return c.Group
	case ReverseReplicate:
		return c.Group
	}
	return ""
}

func (c BeginJob) apply(s *state) (any, error) {
	const op = "begin job of group"
	g, err := s.groupAt(op, c.Job.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	js := s.jobs[g.ID]
	if next := s.nextJob(g.ID); c.Job.ID != next {
		return nil, s.jobError(op, g.ID, c.Job.ID, fmt.Errorf("the next one is %d: %w", next, redoubt.ErrFenced), "somebody else began one; look at it: redoubt job list "+string(g.ID))
	}
	if n, ok := s.nodes[c.Node]; !ok || n.State != NodeActive {
		return nil, s.jobError(op, g.ID, c.Job.ID, fmt.Errorf("node %s is not active: %w", c.Node, redoubt.ErrState), "redoubt node list")
	}
	if old := js.running(); old != nil {
		if !c.supersedes(old) {
			return nil, s.busy(g.ID, old)
		}
		js = js.with(old.over(JobCancelled, c.Now, fmt.Sprintf("job %d took its place", c.Job.ID), ""))
	}
	for _, old := range js.cancelling() { // whether its source goes on shows in this job
		js = js.with(old.over(old.Outcome, old.Ended, old.Error, old.Hint))
	}
	j := Job{ID: c.Job.ID, Group: g.ID, Kind: c.Kind, By: c.By, State: JobRunning, Step: c.Kind.Steps()[0], Began: c.Now,
		Node: c.Node, Fixed: c.Fixed, Term: 1, Epoch: c.Epoch, Limit: c.Limit, Hydrate: c.Hydrate}
	if err := s.enter(&j, g, c.Do, c.Now); err != nil {
		return nil, err
	}
	if c.Do != nil {
		j = j.did(c.Now, c.Note, j.Kind.after(j.Step))
		if j.Step == StepNone {
			j = j.over(JobDoneWell, c.Now, "", "")
		}
	}
	s.putJob(js, j)
	return *s.groups[g.ID], nil
}

// enter makes the change of the group with which a job begins: the effect that
// it carries, or StateFailingOver for a planned failover.
func (s *state) enter(j *Job, g *Group, do Command, now int64) error {
	if do != nil {
		_, err := do.apply(s)
		return err
	}
	if _, err := g.step(j.Kind.operation()); err != nil {
		return err
	}
	if back := g.State == StateReverseReplicating; back != (j.Kind == JobFailback) {
		return g.refuse(j.Kind.operation())
	}
	if j.Kind != JobPlanned {
		return nil
	}
	_, err := SetState{Group: g.ID, Epoch: g.Epoch, Op: OpPlannedFailover, Now: now}.apply(s)
	return err
}

// supersedes: what only opens disks gives way to an operator who wants another
// point, or none. Nothing else ends such a job: what is promoted must be exported.
func (c BeginJob) supersedes(old *Job) bool {
	return old.Step == StepExport && (c.Kind == JobChange || c.Kind == JobCancel)
}

func (s *state) busy(id redoubt.GroupID, j *Job) error {
	return fail("change group", string(id), fmt.Errorf("job %d (%s, step %s) is under way: %w", j.ID, j.Kind, j.Step, redoubt.ErrState),
		fmt.Sprintf("wait for it, or end it: redoubt job cancel %s %d", id, j.ID))
}

// ofJob refuses a change of who may write that is not part of the job that is
// under way.
func (s *state) ofJob(c Command) error {
	if !c.kind().isEffect() {
		return nil
	}
	if j := s.jobs[groupOf(c)].running(); j != nil {
		return s.busy(j.Group, j)
	}
	return nil
}

func (s *state) nextJob(id redoubt.GroupID) uint64 {
	if js := s.jobs[id]; js != nil {
		return js.Next
	}
	return 1
}

// putJob stores j in js, the table of its group, and follows from it what the
// table knows beside.
func (s *state) putJob(js *Jobs, j Job) {
	n := js.with(j)
	if d := len(j.Steps); j.Kind == JobPlanned && d > 0 && j.Steps[d-1].Step == StepPromote {
		n.Planned = s.groups[j.Group].Epoch
	}
	s.jobs[j.Group] = n
}

// ClaimJob makes Node the driver. Term is the present one + 1: whoever read an
// older one is refused with ErrFenced. Result: nil.
type ClaimJob struct {
	Job  JobRef
	Node redoubt.NodeID
	Term uint64
	Now  int64
}

func (c ClaimJob) kind() kind { return kindClaimJob }

func (c ClaimJob) encode(e *encoder) {
	e.jobRef(c.Job)
	e.str(string(c.Node))
	e.uvar(c.Term)
	e.i64(c.Now)
}

func (c ClaimJob) check() error {
	if c.Term < 2 { // whoever begins a job has the first
		return invalid("claim job of group", string(c.Job.Group), "bad term")
	}
	if err := redoubt.ValidName("node", string(c.Node)); err != nil {
		return err
	}
	return c.Job.check()
}

func (c ClaimJob) apply(s *state) (any, error) {
	const op = "claim job"
	js, j, err := s.job(op, c.Job, c.Term-1)
	if err != nil {
		return nil, err
	}
	if n, ok := s.nodes[c.Node]; !ok || !n.State.Member() {
		return nil, s.jobError(op, c.Job.Group, c.Job.ID, fmt.Errorf("node %s: %w", c.Node, redoubt.ErrNotFound), "")
	}
	n := *j
	n.Node, n.Term = c.Node, c.Term
	s.putJob(js, n)
	return nil, nil
}

// job finds a job that is under way; term 0 asks for any.
func (s *state) job(op string, r JobRef, term uint64) (*Jobs, *Job, error) {
	js := s.jobs[r.Group]
	j := js.find(r.ID)
	switch {
	case j == nil:
		return nil, nil, s.jobError(op, r.Group, r.ID, redoubt.ErrNotFound, "redoubt job list "+string(r.Group)+" names those that are kept")
	case !j.Running():
		return nil, nil, s.jobError(op, r.Group, r.ID, fmt.Errorf("it is %s: %w", j.State, redoubt.ErrState), "redoubt job show "+string(r.Group))
	case term != 0 && term != j.Term:
		return nil, nil, s.jobError(op, r.Group, r.ID, fmt.Errorf("term %d, the present one is %d: %w", term, j.Term, redoubt.ErrFenced), "another node drives it now")
	}
	return js, j, nil
}
