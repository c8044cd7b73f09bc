package admin

import (
	"context"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// GetRetention refuses.
func (e Elsewhere) GetRetention(_ context.Context, r *adminv1.GetRetentionRequest) (*adminv1.GetRetentionResponse, error) {
	return nil, e.refuse("show retention", r.GetGroup())
}

// PlanRetention refuses.
func (e Elsewhere) PlanRetention(_ context.Context, r *adminv1.PlanRetentionRequest) (*adminv1.PlanRetentionResponse, error) {
	return nil, e.refuse("plan retention", r.GetGroup())
}

// SetRetention refuses.
func (e Elsewhere) SetRetention(_ context.Context, r *adminv1.SetRetentionRequest) (*adminv1.SetRetentionResponse, error) {
	return nil, e.refuse("set retention", r.GetGroup())
}

// PinPoint refuses.
func (e Elsewhere) PinPoint(_ context.Context, r *adminv1.PinPointRequest) (*adminv1.PinPointResponse, error) {
	return nil, e.refuse("pin point", r.GetGroup())
}

// UnpinPoint refuses.
func (e Elsewhere) UnpinPoint(_ context.Context, r *adminv1.UnpinPointRequest) (*adminv1.UnpinPointResponse, error) {
	return nil, e.refuse("unpin point", r.GetGroup())
}

// HoldPoint refuses.
func (e Elsewhere) HoldPoint(_ context.Context, r *adminv1.HoldPointRequest) (*adminv1.HoldPointResponse, error) {
	return nil, e.refuse("hold point", r.GetGroup())
}

// ConfirmClock refuses.
func (e Elsewhere) ConfirmClock(_ context.Context, r *adminv1.ConfirmClockRequest) (*adminv1.ConfirmClockResponse, error) {
	return nil, e.refuse("confirm clock", r.GetGroup())
}
