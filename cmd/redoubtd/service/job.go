package service

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target/export"
)

// PlannedFailover begins a planned failover to the node that is asked.
func (s *Service) PlannedFailover(ctx context.Context, r *adminv1.PlannedFailoverRequest) (*adminv1.PlannedFailoverResponse, error) {
	if s.target == nil {
		return s.Elsewhere.PlannedFailover(ctx, r)
	}
	if c, err := s.elsewhere(ctx, redoubt.NodeID(r.GetNode())); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.PlannedFailover(ctx, r)
	}
	j, err := s.target.Exports.Planned(asked(ctx), redoubt.GroupID(r.GetGroup()), r.GetNode() != "", time.Duration(r.GetLimitMs())*time.Millisecond, r.GetHydrate())
	if err != nil {
		return nil, err
	}
	return &adminv1.PlannedFailoverResponse{Job: jobInfo(j)}, nil
}

// ListJobs returns the jobs of a group that are kept.
func (s *Service) ListJobs(ctx context.Context, r *adminv1.ListJobsRequest) (*adminv1.ListJobsResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ListJobs(ctx, r)
	}
	id := redoubt.GroupID(r.GetGroup())
	if _, ok := s.target.Node.Catalog().Group(id); !ok {
		return nil, &redoubt.Error{Op: "list jobs of group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	out := &adminv1.ListJobsResponse{}
	for _, j := range s.target.Node.Catalog().Jobs(id) {
		out.Jobs = append(out.Jobs, jobInfo(j))
	}
	return out, nil
}

// GetJob returns one job, as the catalog of this node knows it.
func (s *Service) GetJob(ctx context.Context, r *adminv1.GetJobRequest) (*adminv1.GetJobResponse, error) {
	if s.target == nil {
		return s.Elsewhere.GetJob(ctx, r)
	}
	j, ok := s.target.Node.Catalog().Job(redoubt.GroupID(r.GetGroup()), r.GetId())
	if !ok {
		return nil, &redoubt.Error{Op: "show job", Object: fmt.Sprintf("%s/%d", r.GetGroup(), r.GetId()), Err: redoubt.ErrNotFound, Hint: "`redoubt job list` names those that are kept"}
	}
	return &adminv1.GetJobResponse{Job: jobInfo(j)}, nil
}

// CancelJob ends a job.
func (s *Service) CancelJob(ctx context.Context, r *adminv1.CancelJobRequest) (*adminv1.CancelJobResponse, error) {
	if s.target == nil {
		return s.Elsewhere.CancelJob(ctx, r)
	}
	j, err := s.target.Exports.CancelJob(asked(ctx), redoubt.GroupID(r.GetGroup()), r.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.CancelJobResponse{Job: jobInfo(j)}, nil
}

// asked returns a context that carries who asks into the records of jobs.
func asked(ctx context.Context) context.Context {
	if p, ok := admin.PeerFrom(ctx); ok {
		return export.By(ctx, p.String())
	}
	return ctx
}

func jobInfo(j catalog.Job) *adminv1.Job {
	out := &adminv1.Job{
		Id: j.ID, Group: string(j.Group), Kind: j.Kind.String(), State: j.State.String(), By: j.By, Node: string(j.Node),
		Began: admin.FromNanos(j.Began), Ended: admin.FromNanos(j.Ended), Step: j.Step.String(), Error: j.Error, Hint: j.Hint,
		Done: j.Done, Total: j.Total, Epoch: uint64(j.Epoch), LimitMs: uint64(time.Duration(j.Limit).Milliseconds()),
		HeadLsn: uint64(j.Head), PausedMs: uint64(time.Duration(j.Held).Milliseconds()),
	}
	for _, d := range j.Steps {
		out.Steps = append(out.Steps, &adminv1.JobStep{Step: d.Step.String(), At: admin.FromNanos(d.At), Note: d.Note})
	}
	for _, st := range j.Kind.Steps() {
		out.Plan = append(out.Plan, st.String())
	}
	return out
}

// forceResume lets the clients of a stopped source write, by an operator's word alone.
func (s *Service) forceResume(ctx context.Context, id redoubt.GroupID) (*adminv1.CancelFailoverResponse, error) {
	if s.source == nil {
		return nil, &redoubt.Error{Op: "force writes to group", Object: string(id), Err: redoubt.ErrState, Hint: "--force is for the source whose writers are stopped; ask redoubtd there"}
	}
	g, err := s.source.Group(id)
	if err != nil {
		return nil, err
	}
	if _, err := g.ForceResume(); err != nil {
		return nil, err
	}
	st := g.Status()
	return &adminv1.CancelFailoverResponse{State: sourceState(st), Epoch: uint64(st.Role.Epoch), Writer: catalog.SourceWriter(s.node.Name)}, nil
}

// noteStopped says at a source that its writers are stopped, and what to do
// when nobody can be asked.
func noteStopped(out *adminv1.Group, x *source.Stopped) {
	out.ReadOnly, out.ReadOnlyReason = true, stoppedReason(x)
	out.Job = &adminv1.Job{Id: x.Job, Group: out.Id, Kind: catalog.JobPlanned.String(), State: catalog.JobRunning.String(), Step: catalog.StepQuiesce.String(),
		HeadLsn: uint64(x.Head), LimitMs: uint64(x.Limit.Milliseconds()), PausedMs: uint64(time.Since(x.Since).Milliseconds()), Hint: x.Hint}
	if x.Err != nil {
		out.Job.Error = x.Err.Error()
	}
}

func stoppedReason(x *source.Stopped) string {
	why := fmt.Sprintf("stopped for the planned failover (job %d) for %s", x.Job, time.Since(x.Since).Round(time.Second))
	if x.Err != nil {
		why += "; the secondary cannot be asked what has become of it: the disks stay read-only until it answers"
	}
	return why
}
