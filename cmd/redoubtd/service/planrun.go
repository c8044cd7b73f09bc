package service

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/plan"
)

// StartPlan begins a run; the driver of this node carries it out.
func (s *Service) StartPlan(ctx context.Context, r *adminv1.StartPlanRequest) (*adminv1.StartPlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.StartPlan(ctx, r)
	}
	kind, direction, err := runKind(r.GetKind(), r.GetDirection())
	if err != nil {
		return nil, err
	}
	if err := s.target.Node.Barrier(ctx); err != nil {
		return nil, err
	}
	rp, err := s.plan(r.GetName())
	if err != nil {
		return nil, err
	}
	point, err := s.planPoint(rp, kind, r.GetPoint())
	if err != nil {
		return nil, err
	}
	if kind == catalog.RunTest {
		if err := s.pointExists(ctx, rp, point); err != nil {
			return nil, err
		}
	}
	run, err := s.plans.Start(ctx, rp.Name, kind, direction, point, caller(ctx))
	if err != nil {
		return nil, err
	}
	return &adminv1.StartPlanResponse{Run: planRun(&run)}, nil
}

// planPoint is the point of all groups: for a test the same instant.
func (s *Service) planPoint(rp catalog.RecoveryPlan, kind catalog.RunKind, point string) (string, error) {
	switch {
	case kind == catalog.RunPlanned:
		if point != "" && point != "latest" {
			return "", &redoubt.Error{Op: "start plan", Object: rp.Name, Err: fmt.Errorf("a planned run has no other point than the last write: %w", redoubt.ErrInvalid), Hint: "without --point"}
		}
		return "latest", nil
	case kind == catalog.RunTest && point == "":
		p, err := plan.Parse(rp.Text, nil)
		if err != nil {
			return "", &redoubt.Error{Op: "read plan", Object: rp.Name, Err: err}
		}
		at, err := s.commonInstant(p.GroupNames())
		return at.UTC().Format(time.RFC3339Nano), err
	case point == "":
		return "latest", nil
	}
	spec, err := admin.ParsePoint(point)
	if err != nil {
		return "", err
	}
	switch spec.GetAt().(type) {
	case *adminv1.PointSpec_Lsn, *adminv1.PointSpec_Position:
		return "", &redoubt.Error{Op: "start plan", Object: rp.Name, Err: fmt.Errorf("point %s is one of a single group: %w", point, redoubt.ErrInvalid), Hint: "latest, a time, or bookmark:NAME"}
	}
	return admin.FormatPoint(spec), nil
}

// pointExists refuses a test at a point that a group does not have: there is
// time to choose another one.
func (s *Service) pointExists(ctx context.Context, rp catalog.RecoveryPlan, point string) error {
	p, err := plan.Parse(rp.Text, nil)
	if err != nil {
		return &redoubt.Error{Op: "read plan", Object: rp.Name, Err: err}
	}
	given, err := admin.ParsePoint(point)
	if err != nil {
		return err
	}
	at, err := pointSpec(given)
	if err != nil {
		return err
	}
	for _, g := range p.GroupNames() {
		if _, _, gerr := s.target.Store.History().Resolve(ctx, redoubt.GroupID(g), at); gerr != nil {
			err = errors.Join(err, gerr)
		}
	}
	return err
}

// GetPlanRun returns a run with its steps.
func (s *Service) GetPlanRun(ctx context.Context, r *adminv1.GetPlanRunRequest) (*adminv1.GetPlanRunResponse, error) {
	if s.target == nil {
		return s.Elsewhere.GetPlanRun(ctx, r)
	}
	run, err := s.run(r.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetPlanRunResponse{Run: planRun(&run)}, nil
}

func (s *Service) run(id string) (catalog.Run, error) {
	name, number, err := catalog.ParseRunID(id)
	if err != nil {
		return catalog.Run{}, err
	}
	r, ok := s.target.Node.Catalog().Run(name, number)
	if !ok {
		return r, &redoubt.Error{Op: "find run", Object: id, Err: redoubt.ErrNotFound, Hint: "redoubt plan show " + name + " lists the runs that are kept"}
	}
	return r, nil
}

// tell has an operator's wish noted, and returns the run after it.
func (s *Service) tell(ctx context.Context, id string, c catalog.AdvanceRun) (*adminv1.PlanRun, error) {
	var err error
	if c.Plan, c.Number, err = catalog.ParseRunID(id); err != nil {
		return nil, err
	}
	c.By, c.Now = caller(ctx), time.Now().UnixNano()
	var cmd catalog.Command = plan.Event(c)
	if c.Reopens() {
		cmd = catalog.ReopenRun(plan.Event(c))
	}
	if _, err := s.target.Node.Propose(ctx, cmd); err != nil {
		return nil, err
	}
	run, err := s.run(id)
	return planRun(&run), err
}

// ConfirmPlanStep answers a step that waits for an operator.
func (s *Service) ConfirmPlanStep(ctx context.Context, r *adminv1.ConfirmPlanStepRequest) (*adminv1.ConfirmPlanStepResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ConfirmPlanStep(ctx, r)
	}
	run, err := s.run(r.GetId())
	if err != nil {
		return nil, err
	}
	if err := mayConfirm(ctx, &run, r.GetStep()); err != nil {
		return nil, err
	}
	st := catalog.RunStep{Key: r.GetStep(), State: catalog.TaskDone}
	if r.GetRefuse() {
		st.State = catalog.TaskFailed
	}
	info, err := s.tell(ctx, r.GetId(), catalog.AdvanceRun{Event: catalog.EventConfirm, Step: st})
	return &adminv1.ConfirmPlanStepResponse{Run: info}, err
}

// mayConfirm refuses whoever is not among the operators that the plan names.
func mayConfirm(ctx context.Context, run *catalog.Run, step string) error {
	p, err := plan.Parse(run.Text, nil)
	if err != nil {
		return &redoubt.Error{Op: "read plan of", Object: run.ID(), Err: err}
	}
	for _, s := range p.Steps(run.Kind, run.Direction) {
		if s.Key != step || s.Action == nil || len(s.Action.Operators) == 0 {
			continue
		}
		if who, _ := admin.PeerFrom(ctx); who.Role != pki.RoleOperator || !slices.Contains(s.Action.Operators, who.Name) {
			return &redoubt.Error{Op: "confirm", Object: step, Err: fmt.Errorf("%s is none of those who may: %w", who, redoubt.ErrDenied),
				Hint: "operators: " + strings.Join(s.Action.Operators, ", ") + "; with their certificate (--server https://… --identity DIR)"}
		}
	}
	return nil
}

// CancelPlanRun ends a run where it is, or takes it back.
func (s *Service) CancelPlanRun(ctx context.Context, r *adminv1.CancelPlanRunRequest) (*adminv1.CancelPlanRunResponse, error) {
	if s.target == nil {
		return s.Elsewhere.CancelPlanRun(ctx, r)
	}
	run, err := s.tell(ctx, r.GetId(), catalog.AdvanceRun{Event: catalog.EventCancel, Undo: r.GetUndo()})
	return &adminv1.CancelPlanRunResponse{Run: run}, err
}

// ResumePlanRun goes on after an error.
func (s *Service) ResumePlanRun(ctx context.Context, r *adminv1.ResumePlanRunRequest) (*adminv1.ResumePlanRunResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ResumePlanRun(ctx, r)
	}
	run, err := s.tell(ctx, r.GetId(), catalog.AdvanceRun{Event: catalog.EventResume, Step: catalog.RunStep{Key: r.GetSkip()}})
	return &adminv1.ResumePlanRunResponse{Run: run}, err
}

// CleanupPlanRun ends the test failovers of a test run.
func (s *Service) CleanupPlanRun(ctx context.Context, r *adminv1.CleanupPlanRunRequest) (*adminv1.CleanupPlanRunResponse, error) {
	if s.target == nil {
		return s.Elsewhere.CleanupPlanRun(ctx, r)
	}
	run, err := s.tell(ctx, r.GetId(), catalog.AdvanceRun{Event: catalog.EventCleanup})
	return &adminv1.CleanupPlanRunResponse{Run: run}, err
}

// planRun describes a run with its steps.
func planRun(r *catalog.Run) *adminv1.PlanRun {
	out := &adminv1.PlanRun{Id: r.ID(), Plan: r.Plan, Version: r.Version, Kind: r.Kind.String(), Direction: r.Direction.String(), State: r.State.String(),
		Point: r.Point, By: r.By, Started: admin.FromNanos(r.Started), Ended: admin.FromNanos(r.Ended), Node: string(r.Holder), Term: r.Term,
		Next: plan.Next(r), Over: !r.Open()}
	steps := map[string]plan.Step{}
	if p, err := plan.Parse(r.Text, nil); err == nil {
		for _, s := range p.Steps(r.Kind, r.Direction) {
			steps[s.Key] = s
		}
	}
	for i := range r.Steps {
		st := &r.Steps[i]
		s := steps[st.Key]
		info := &adminv1.PlanStep{Key: st.Key, Type: st.Type.String(), State: st.State.String(), Node: string(st.Node), Attempt: st.Attempt,
			Started: admin.FromNanos(st.Started), Ended: admin.FromNanos(st.Ended), By: st.By, Error: st.Error, Hint: st.Hint,
			Output: strings.ToValidUTF8(string(st.Output), "?"), OutputBytes: st.Bytes, OutputSha256: hex.EncodeToString(st.Digest)}
		if s.Action != nil {
			info.Question = s.Action.Confirm
		}
		if limit := s.Limit(); limit > 0 {
			info.Limit = durationpb.New(limit)
		}
		out.Steps = append(out.Steps, info)
		if s.Undoing() || st.Type == catalog.TaskClose || st.Type == catalog.TaskSweep {
			continue
		}
		out.Total++
		switch st.State {
		case catalog.TaskDone, catalog.TaskSkipped:
			out.Done++
		case catalog.TaskFailed:
			out.Failed++
		}
	}
	return out
}
