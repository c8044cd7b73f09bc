package admin

import (
	"context"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// PauseGroup refuses.
func (e Elsewhere) PauseGroup(_ context.Context, r *adminv1.PauseGroupRequest) (*adminv1.PauseGroupResponse, error) {
	return nil, e.refuse("pause", r.GetGroup())
}

// ResumeGroup refuses.
func (e Elsewhere) ResumeGroup(_ context.Context, r *adminv1.ResumeGroupRequest) (*adminv1.ResumeGroupResponse, error) {
	return nil, e.refuse("resume", r.GetGroup())
}

// UnprotectGroup refuses.
func (e Elsewhere) UnprotectGroup(_ context.Context, r *adminv1.UnprotectGroupRequest) (*adminv1.UnprotectGroupResponse, error) {
	return nil, e.refuse("unprotect", r.GetGroup())
}

// ProtectGroup refuses.
func (e Elsewhere) ProtectGroup(_ context.Context, r *adminv1.ProtectGroupRequest) (*adminv1.ProtectGroupResponse, error) {
	return nil, e.refuse("protect", r.GetGroup())
}
