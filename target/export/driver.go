package export

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// jobs is what a driver needs of the cluster.
type jobs interface {
	Propose(ctx context.Context, c catalog.Command) (any, error)
	Barrier(ctx context.Context) error
	Catalog() *catalog.Catalog
}

// driver carries one job from step to step. What is durable is in the catalog:
// a driver that takes a job up knows only its record, so each step looks at
// what is there before it acts. The catalog takes a step from the holder of the newest term only.
type driver struct {
	jobs jobs
	me   redoubt.NodeID
	now  func() time.Time
	here func(point string) // crashpoint.Here
	warn func(msg string, args ...any)
	// perform does the step under way and says what to record. It is called
	// again after an error that retries allows, and after a crash.
	perform func(ctx context.Context, g catalog.Group, j catalog.Job) (done, error)
	pause   func(ctx context.Context, d time.Duration) error
}

// done is what a step has come to.
type done struct {
	do    catalog.Command // its effect on the group, recorded with it
	note  string
	held  time.Duration // how long nobody could write; 0: no news
	moved bool          // somebody else has recorded it
}

const stepRetry = time.Second

// retries says which steps are tried again until they succeed or an operator
// ends the job: those after the decision.
func retries(st catalog.JobStep) bool {
	switch st {
	case catalog.StepExport, catalog.StepClose, catalog.StepConnect, catalog.StepWriter:
		return true
	}
	return false
}

// run drives the job until it is over, another driver has it, or ctx is done.
func (d *driver) run(ctx context.Context, ref catalog.JobRef, term uint64) error {
	for {
		if err := d.jobs.Barrier(ctx); err != nil {
			if perr := d.pause(ctx, stepRetry); perr != nil {
				return perr
			}
			continue
		}
		j, ok := d.jobs.Catalog().Job(ref.Group, ref.ID)
		g, known := d.jobs.Catalog().Group(ref.Group)
		if !ok || !known || !j.Running() || j.Term != term {
			return nil
		}
		if err := d.step(ctx, g, j); err != nil {
			return err
		}
	}
}

// step does one step. Its error ends the run; a failure of the step itself is
// recorded in the job.
func (d *driver) step(ctx context.Context, g catalog.Group, j catalog.Job) error {
	at := func(when string) { d.here(crashpoint.Step(j.Kind.String(), j.Step.String(), when)) }
	at("before")
	out, err := d.perform(ctx, g, j)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && retries(j.Step):
		d.warn("a step of a job is tried again", "group", string(g.ID), "job", j.ID, "step", j.Step.String(), "err", err, "hint", redoubt.Hint(err))
		return d.pause(ctx, stepRetry)
	case err != nil:
		return d.fail(ctx, j, err)
	}
	at("effect")
	if !out.moved {
		err = d.record(ctx, j, out)
	}
	if err == nil {
		at("after")
	}
	return err
}

// record proposes what the step came to. A proposal whose outcome is unknown is
// judged by the next look at the job.
func (d *driver) record(ctx context.Context, j catalog.Job, out done) error {
	_, err := d.jobs.Propose(ctx, catalog.StepJob{Job: ref(j), Term: j.Term, Step: j.Step, Finish: true, Do: out.do, Note: clip(out.note),
		Held: int64(out.held), Now: d.now().UnixNano()})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redoubt.ErrUnavailable):
		return d.pause(ctx, stepRetry)
	}
	now, ok := d.jobs.Catalog().Job(j.Group, j.ID)
	if !ok || !now.Running() || now.Term != j.Term || now.Step != j.Step {
		return nil // somebody else was faster: the loop sees what is left
	}
	return d.fail(ctx, j, err)
}

// fail ends the job. Until that is agreed on it may still have been promoted, so
// it is tried until it is known.
func (d *driver) fail(ctx context.Context, j catalog.Job, cause error) error {
	for {
		_, err := d.jobs.Propose(ctx, catalog.EndJob{Job: ref(j), Term: j.Term, State: catalog.JobFailed, Error: clip(cause.Error()),
			Hint: clip(redoubt.Hint(cause)), Now: d.now().UnixNano()})
		if !errors.Is(err, redoubt.ErrUnavailable) {
			return nil
		}
		if err := d.pause(ctx, stepRetry); err != nil {
			return err
		}
	}
}

func ref(j catalog.Job) catalog.JobRef { return catalog.JobRef{Group: j.Group, ID: j.ID} }
