package main

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// branch is what the source keeps until it is dropped.
func branch() *adminv1.Branch {
	return &adminv1.Branch{Id: "1-after-48123", KeptBy: "source/host1", Epoch: 1, AfterLsn: 48123, HeadLsn: 48125, Records: 2, Bytes: 8192,
		FirstTime: ago(100 * time.Millisecond), LastTime: ago(50 * time.Millisecond)}
}

func (s *site) ListBranches(_ context.Context, r *adminv1.ListBranchesRequest) (*adminv1.ListBranchesResponse, error) {
	if err := known("list branches", r.Group); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &adminv1.ListBranchesResponse{Branches: []*adminv1.Branch{{Id: "2:60000", KeptBy: "history", Epoch: 2, AfterLsn: 50000, HeadLsn: 60000}}}
	if s.dropped {
		out.SourceError = "no contact"
		return out, nil
	}
	out.Branches = append(out.Branches, branch())
	return out, nil
}

func (s *site) DropBranch(_ context.Context, r *adminv1.DropBranchRequest) (*adminv1.DropBranchResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Id != branch().Id || s.dropped {
		return nil, &redoubt.Error{Op: "drop branch", Object: r.Group + "/" + r.Id, Err: redoubt.ErrNotFound, Hint: "`redoubt branch list` names the branches"}
	}
	s.dropped = true
	return &adminv1.DropBranchResponse{Dropped: branch()}, nil
}
