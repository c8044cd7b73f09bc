package service

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// GrowDisk makes a protected disk larger.
func (s *Service) GrowDisk(ctx context.Context, r *adminv1.GrowDiskRequest) (*adminv1.GrowDiskResponse, error) {
	if s.source == nil {
		return s.Elsewhere.GrowDisk(ctx, r)
	}
	g, err := s.source.Group(redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	before, after, err := g.Grow(ctx, r.GetDisk(), r.GetSize())
	if err != nil {
		return nil, err
	}
	return &adminv1.GrowDiskResponse{Before: before.Size, After: after.Size, Clients: uint32(g.Status().Clients[after.Name])}, nil
}

// RemoveDisk takes a disk out of its group.
func (s *Service) RemoveDisk(ctx context.Context, r *adminv1.RemoveDiskRequest) (*adminv1.RemoveDiskResponse, error) {
	if s.source == nil {
		return s.Elsewhere.RemoveDisk(ctx, r)
	}
	g, err := s.source.Group(redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	d, err := g.RemoveDisk(ctx, r.GetDisk())
	if err != nil {
		return nil, err
	}
	return &adminv1.RemoveDiskResponse{Id: uint32(d.ID), Size: d.Size}, nil
}
