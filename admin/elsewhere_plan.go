package admin

import (
	"context"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// PutPlan refuses.
func (e Elsewhere) PutPlan(_ context.Context, _ *adminv1.PutPlanRequest) (*adminv1.PutPlanResponse, error) {
	return nil, e.refuse("put plan", "")
}

// ValidatePlan refuses.
func (e Elsewhere) ValidatePlan(_ context.Context, _ *adminv1.ValidatePlanRequest) (*adminv1.ValidatePlanResponse, error) {
	return nil, e.refuse("validate plan", "")
}

// ListPlans refuses.
func (e Elsewhere) ListPlans(_ context.Context, _ *adminv1.ListPlansRequest) (*adminv1.ListPlansResponse, error) {
	return nil, e.refuse("list plans", "")
}

// GetPlan refuses.
func (e Elsewhere) GetPlan(_ context.Context, r *adminv1.GetPlanRequest) (*adminv1.GetPlanResponse, error) {
	return nil, e.refuse("show plan", r.GetName())
}

// DeletePlan refuses.
func (e Elsewhere) DeletePlan(_ context.Context, r *adminv1.DeletePlanRequest) (*adminv1.DeletePlanResponse, error) {
	return nil, e.refuse("delete plan", r.GetName())
}

// StartPlan refuses.
func (e Elsewhere) StartPlan(_ context.Context, r *adminv1.StartPlanRequest) (*adminv1.StartPlanResponse, error) {
	return nil, e.refuse("start plan", r.GetName())
}

// GetPlanRun refuses.
func (e Elsewhere) GetPlanRun(_ context.Context, r *adminv1.GetPlanRunRequest) (*adminv1.GetPlanRunResponse, error) {
	return nil, e.refuse("show run", r.GetId())
}

// ConfirmPlanStep refuses.
func (e Elsewhere) ConfirmPlanStep(_ context.Context, r *adminv1.ConfirmPlanStepRequest) (*adminv1.ConfirmPlanStepResponse, error) {
	return nil, e.refuse("confirm step of run", r.GetId())
}

// CancelPlanRun refuses.
func (e Elsewhere) CancelPlanRun(_ context.Context, r *adminv1.CancelPlanRunRequest) (*adminv1.CancelPlanRunResponse, error) {
	return nil, e.refuse("cancel run", r.GetId())
}

// ResumePlanRun refuses.
func (e Elsewhere) ResumePlanRun(_ context.Context, r *adminv1.ResumePlanRunRequest) (*adminv1.ResumePlanRunResponse, error) {
	return nil, e.refuse("resume run", r.GetId())
}

// CleanupPlanRun refuses.
func (e Elsewhere) CleanupPlanRun(_ context.Context, r *adminv1.CleanupPlanRunRequest) (*adminv1.CleanupPlanRunResponse, error) {
	return nil, e.refuse("clean up run", r.GetId())
}

// PredictPlan refuses.
func (e Elsewhere) PredictPlan(_ context.Context, r *adminv1.PredictPlanRequest) (*adminv1.PredictPlanResponse, error) {
	return nil, e.refuse("predict plan", r.GetName())
}

// RunPlanScript refuses.
func (e Elsewhere) RunPlanScript(_ context.Context, r *adminv1.RunPlanScriptRequest) (*adminv1.RunPlanScriptResponse, error) {
	return nil, e.refuse("run script", r.GetScript())
}

// CheckPlanScripts refuses.
func (e Elsewhere) CheckPlanScripts(_ context.Context, _ *adminv1.CheckPlanScriptsRequest) (*adminv1.CheckPlanScriptsResponse, error) {
	return nil, e.refuse("check scripts", "")
}
