package admin

import (
	"context"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// GrowDisk refuses.
func (e Elsewhere) GrowDisk(_ context.Context, r *adminv1.GrowDiskRequest) (*adminv1.GrowDiskResponse, error) {
	return nil, e.refuse("grow disk", r.GetGroup())
}

// RemoveDisk refuses.
func (e Elsewhere) RemoveDisk(_ context.Context, r *adminv1.RemoveDiskRequest) (*adminv1.RemoveDiskResponse, error) {
	return nil, e.refuse("remove disk", r.GetGroup())
}
