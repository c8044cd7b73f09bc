package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/plan"
)

// planned fails a group over without loss: it begins a job, or follows the one
// that an earlier attempt began, and waits for its end.
func (p planSite) planned(ctx context.Context, m plan.Move) ([]plan.Disk, error) {
	if done, err := p.promoted(ctx, m); err != nil || done {
		return p.production(ctx, m, err)
	}
	j, ok := p.s.target.Node.Catalog().RunningJob(m.Group)
	if ok && j.Kind != catalog.JobPlanned {
		if err := p.idle(ctx, m.Group); err != nil {
			return nil, err
		}
	}
	id := j.ID
	if !ok || j.Kind != catalog.JobPlanned {
		r, err := p.s.PlannedFailover(ctx, &adminv1.PlannedFailoverRequest{Group: string(m.Group), Node: string(m.Node), Hydrate: m.Hydrate})
		if err != nil {
			return nil, err
		}
		id = r.Job.Id
	}
	j, err := p.jobEnd(ctx, m.Group, id)
	switch {
	case errors.Is(err, plan.ErrCancelled):
		return nil, errors.Join(err, p.cancelJob(m.Group, id))
	case err != nil:
		return nil, err
	case j.State != catalog.JobDoneWell:
		return nil, &redoubt.Error{Op: "planned failover of", Object: string(m.Group), Err: fmt.Errorf("job %d is %s: %s", id, j.State, j.Error), Hint: j.Hint}
	}
	return p.production(ctx, m, nil)
}

// cancelTime bounds how long it is tried to cancel a job whose run was cancelled.
const cancelTime = 10 * time.Second

// cancelJob ends the job: its source goes on as if nothing had been.
func (p planSite) cancelJob(group redoubt.GroupID, id uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), cancelTime)
	defer cancel()
	_, err := p.s.CancelJob(ctx, &adminv1.CancelJobRequest{Group: string(group), Id: id})
	return err
}

// jobEnd waits until the job is over.
func (p planSite) jobEnd(ctx context.Context, group redoubt.GroupID, id uint64) (catalog.Job, error) {
	for {
		changed := p.s.target.Node.Catalog().Changed()
		// Another node may have begun it: it is in the catalog here a moment later.
		if j, ok := p.s.target.Node.Catalog().Job(group, id); ok && j.State != catalog.JobRunning && j.State != catalog.JobCancelling {
			return j, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return catalog.Job{}, context.Cause(ctx)
		}
	}
}

// idle waits until no job of the group is under way: an earlier attempt, or an
// operator, may have begun one.
func (p planSite) idle(ctx context.Context, group redoubt.GroupID) error {
	for {
		j, ok := p.s.target.Node.Catalog().RunningJob(group)
		if !ok || j.Step == catalog.StepExport { // that may take long, and is waited for by its effect
			return nil
		}
		if _, err := p.jobEnd(ctx, group, j.ID); err != nil {
			return err
		}
	}
}
