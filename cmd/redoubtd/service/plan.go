package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/plan"
	"github.com/redoubt-dr/redoubt/target/export"
)

// openTest opens a test failover of this node, once for each label.
func (s *Service) openTest(ctx context.Context, r *adminv1.TestFailoverRequest) (*export.Instance, error) {
	if _, _, err := catalog.ParseRunID(r.GetLabel()); err != nil {
		return nil, err
	}
	at, err := pointSpec(r.GetPoint())
	if err != nil {
		return nil, err
	}
	return s.target.Exports.LabelledTest(ctx, redoubt.GroupID(r.GetGroup()), at, r.GetHydrate(), r.GetLabel())
}

// closeTests ends test failovers of this node, by id or by label.
func (s *Service) closeTests(ctx context.Context, r *adminv1.CleanupTestRequest) (ids []string, freed uint64, err error) {
	if r.GetLabel() != "" {
		return s.target.Exports.CleanupLabel(ctx, redoubt.GroupID(r.GetGroup()), r.GetLabel())
	}
	return s.target.Exports.Cleanup(redoubt.GroupID(r.GetGroup()), r.GetId())
}

// PutPlan stores a plan.
func (s *Service) PutPlan(ctx context.Context, r *adminv1.PutPlanRequest) (*adminv1.PutPlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.PutPlan(ctx, r)
	}
	p, err := plan.Parse(r.GetText(), nil)
	if err != nil {
		return nil, &redoubt.Error{Op: "put plan", Err: err, Hint: "every key is explained in docs/PLANS.md"}
	}
	w, _ := s.planWorld(ctx, p)
	_, err = plan.Parse(r.GetText(), w)
	if err != nil && !r.GetForce() {
		return nil, &redoubt.Error{Op: "put plan", Object: p.Name, Err: err, Hint: "--force stores it all the same"}
	}
	out := &adminv1.PutPlanResponse{Warnings: planFaults(err)}
	if _, err := s.target.Node.Propose(ctx, catalog.PutRecoveryPlan{Name: p.Name, Text: r.GetText(), Replaces: r.GetReplaces(), By: caller(ctx), Now: time.Now().UnixNano()}); err != nil {
		return nil, err
	}
	rp, _ := s.target.Node.Catalog().RecoveryPlan(p.Name)
	out.Plan = s.planInfo(rp)
	return out, nil
}

// ValidatePlan says everything that is wrong with a plan.
func (s *Service) ValidatePlan(ctx context.Context, r *adminv1.ValidatePlanRequest) (*adminv1.ValidatePlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ValidatePlan(ctx, r)
	}
	out := &adminv1.ValidatePlanResponse{}
	// What it names is looked for as far as it can be read.
	p, _ := plan.Read(r.GetText())
	w, unknown := s.planWorld(ctx, p)
	_, err := plan.Parse(r.GetText(), w)
	out.Name, out.Unknown, out.Faults = p.Name, unknown, planFaults(err)
	return out, nil
}

func planFaults(err error) (out []*adminv1.PlanFault) {
	var fs config.Faults
	if !errors.As(err, &fs) {
		return nil
	}
	for _, f := range fs {
		out = append(out, &adminv1.PlanFault{Line: uint32(f.Line), Column: uint32(f.Column), Key: f.Key, Message: f.Message, Hint: f.Hint})
	}
	return out
}

// ListPlans returns the plans, and what became of their runs.
func (s *Service) ListPlans(ctx context.Context, r *adminv1.ListPlansRequest) (*adminv1.ListPlansResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ListPlans(ctx, r)
	}
	out := &adminv1.ListPlansResponse{}
	for _, rp := range s.target.Node.Catalog().RecoveryPlans() {
		out.Plans = append(out.Plans, s.planInfo(rp))
	}
	return out, nil
}

// GetPlan returns one plan with its text.
func (s *Service) GetPlan(ctx context.Context, r *adminv1.GetPlanRequest) (*adminv1.GetPlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.GetPlan(ctx, r)
	}
	rp, err := s.plan(r.GetName())
	if err != nil {
		return nil, err
	}
	out := s.planInfo(rp)
	out.Text = rp.Text
	return &adminv1.GetPlanResponse{Plan: out}, nil
}

func (s *Service) plan(name string) (catalog.RecoveryPlan, error) {
	rp, ok := s.target.Node.Catalog().RecoveryPlan(name)
	if !ok {
		return rp, &redoubt.Error{Op: "find plan", Object: name, Err: redoubt.ErrNotFound, Hint: "redoubt plan list names the plans"}
	}
	return rp, nil
}

// planInfo describes a plan without its text.
func (s *Service) planInfo(rp catalog.RecoveryPlan) *adminv1.RecoveryPlan {
	out := &adminv1.RecoveryPlan{Name: rp.Name, Version: rp.Version, By: rp.By, At: admin.FromNanos(rp.At)}
	if p, err := plan.Parse(rp.Text, nil); err == nil {
		out.Description, out.Groups = p.Description, p.GroupNames()
	}
	runs := s.target.Node.Catalog().Runs(rp.Name)
	slices.Reverse(runs)
	for i := range runs {
		info := planRun(&runs[i])
		info.Steps = nil
		out.Runs = append(out.Runs, info)
	}
	return out
}

// DeletePlan forgets a plan and its runs.
func (s *Service) DeletePlan(ctx context.Context, r *adminv1.DeletePlanRequest) (*adminv1.DeletePlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.DeletePlan(ctx, r)
	}
	_, err := s.target.Node.Propose(ctx, catalog.PutRecoveryPlan{Name: r.GetName(), By: caller(ctx), Now: time.Now().UnixNano()})
	if err != nil {
		return nil, err
	}
	return &adminv1.DeletePlanResponse{}, nil
}

// PredictPlan says what a run would do, and how long it would take.
func (s *Service) PredictPlan(ctx context.Context, r *adminv1.PredictPlanRequest) (*adminv1.PredictPlanResponse, error) {
	if s.target == nil {
		return s.Elsewhere.PredictPlan(ctx, r)
	}
	rp, err := s.plan(r.GetName())
	if err != nil {
		return nil, err
	}
	kind, direction, err := runKind(r.GetKind(), r.GetDirection())
	if err != nil {
		return nil, err
	}
	p, err := plan.Parse(rp.Text, nil)
	if err != nil {
		return nil, &redoubt.Error{Op: "read plan", Object: rp.Name, Err: err}
	}
	e := plan.Predict(p, kind, direction, rp.Took)
	out := &adminv1.PredictPlanResponse{Plan: rp.Name, Version: rp.Version, Kind: kind.String(), Direction: direction.String(),
		Expected: durationpb.New(e.Expected), Worst: durationpb.New(e.Worst)}
	for _, st := range e.Steps {
		out.Steps = append(out.Steps, &adminv1.PredictedStep{Key: st.Step.Key, Type: st.Step.Type.String(), Node: st.Step.Node, What: st.Step.What(), Batch: uint32(st.Batch),
			Expected: durationpb.New(st.Expected), Worst: durationpb.New(st.Worst), Measured: uint32(st.Measured), Assumes: st.Assumes})
	}
	return out, nil
}

// runKind reads the kind and the direction of a run.
func runKind(kind, direction string) (k catalog.RunKind, d catalog.RunDirection, err error) {
	d = catalog.RunFailover
	if direction != "" {
		err = d.UnmarshalText([]byte(direction))
	}
	if err = errors.Join(k.UnmarshalText([]byte(kind)), err); err == nil && d == catalog.RunFailback && k != catalog.RunPlanned {
		err = &redoubt.Error{Op: "start plan", Err: fmt.Errorf("a failback is always planned: %w", redoubt.ErrInvalid), Hint: "--kind planned --direction failback"}
	}
	return k, d, err
}
