package service

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// Resynchronise begins an epoch in which the source ships what differs.
func (s *Service) Resynchronise(ctx context.Context, r *adminv1.ResynchroniseRequest) (*adminv1.ResynchroniseResponse, error) {
	if s.target == nil {
		return s.Elsewhere.Resynchronise(ctx, r)
	}
	g, err := s.target.Store.Resync(ctx, redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	f, _ := g.Lineage.Find(g.Epoch)
	return &adminv1.ResynchroniseResponse{Epoch: uint64(g.Epoch), FromEpoch: uint64(f.Parent), FromLsn: uint64(f.At), State: g.State.String()}, nil
}
