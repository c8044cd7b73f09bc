package service

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/source"
)

// caller names who asks, as the catalog keeps it.
func caller(ctx context.Context) string {
	if p, ok := admin.PeerFrom(ctx); ok {
		return p.String()
	}
	return ""
}

// operate carries out an operation at the catalog, or asks for it from the
// group's source if this node is no master target. here is nil unless it did the latter.
func (s *Service) operate(ctx context.Context, group string, op catalog.Operation, reason string, alone bool) (out *adminv1.GroupOutcome, here *source.Group, err error) {
	id := redoubt.GroupID(group)
	if s.target != nil {
		g, err := s.target.Exports.Operate(ctx, id, op, caller(ctx), reason)
		if err != nil {
			return nil, nil, err
		}
		return &adminv1.GroupOutcome{State: g.State.String(), Epoch: uint64(g.Epoch), Agreed: true}, nil, nil
	}
	if s.source == nil {
		return nil, nil, &redoubt.Error{Op: op.String(), Object: group, Err: redoubt.ErrState, Hint: "this node has no role"}
	}
	if here, err = s.source.Group(id); err != nil {
		return nil, nil, err
	}
	o, err := here.Operate(ctx, op.String(), caller(ctx), reason, alone)
	if err != nil {
		return nil, nil, err
	}
	if o.State == "" {
		o.State = sourceState(here.Status())
	}
	return &adminv1.GroupOutcome{State: o.State, Epoch: uint64(o.Epoch), Agreed: o.Told}, here, nil
}

// PauseGroup has the source keep its writes to itself, or stops the way back.
func (s *Service) PauseGroup(ctx context.Context, r *adminv1.PauseGroupRequest) (*adminv1.PauseGroupResponse, error) {
	o, here, err := s.operate(ctx, r.GetGroup(), catalog.OpPause, r.GetReason(), false)
	if err != nil {
		return nil, err
	}
	out := &adminv1.PauseGroupResponse{Outcome: o}
	if here != nil {
		out.JournalLastsSeconds = lasts(here.Status())
	}
	return out, nil
}

// ResumeGroup goes on where a pause began.
func (s *Service) ResumeGroup(ctx context.Context, r *adminv1.ResumeGroupRequest) (*adminv1.ResumeGroupResponse, error) {
	o, _, err := s.operate(ctx, r.GetGroup(), catalog.OpResume, "", false)
	return &adminv1.ResumeGroupResponse{Outcome: o}, err
}

// ProtectGroup begins replication again, with a whole copy.
func (s *Service) ProtectGroup(ctx context.Context, r *adminv1.ProtectGroupRequest) (*adminv1.ProtectGroupResponse, error) {
	o, _, err := s.operate(ctx, r.GetGroup(), catalog.OpProtect, "", false)
	return &adminv1.ProtectGroupResponse{Outcome: o}, err
}

// UnprotectGroup ends the replication of a group, and deletes its points if
// that is wanted.
func (s *Service) UnprotectGroup(ctx context.Context, r *adminv1.UnprotectGroupRequest) (*adminv1.UnprotectGroupResponse, error) {
	switch {
	case r.GetDeletePoints() && s.target == nil:
		return nil, &redoubt.Error{Op: "delete the points of group", Object: r.GetGroup(), Err: fmt.Errorf("a protected host cannot reach its recovery points: %w", redoubt.ErrDenied),
			Hint: "ask a node of the secondary site: --server https://HOST:PORT"}
	case r.GetAlone() && s.target != nil:
		return nil, &redoubt.Error{Op: "unprotect group", Object: r.GetGroup(), Err: redoubt.ErrInvalid, Hint: "--alone is for the source; here the catalog decides"}
	}
	id := redoubt.GroupID(r.GetGroup())
	if r.GetDeletePoints() {
		return s.unprotectAndDelete(ctx, id, r.GetReason())
	}
	o, _, err := s.operate(ctx, r.GetGroup(), catalog.OpUnprotect, r.GetReason(), r.GetAlone())
	return &adminv1.UnprotectGroupResponse{Outcome: o}, err
}

// unprotectAndDelete ends replication, unless it has ended, and deletes the
// points. What keeps them is found before anything changes.
func (s *Service) unprotectAndDelete(ctx context.Context, id redoubt.GroupID, reason string) (*adminv1.UnprotectGroupResponse, error) {
	if err := s.target.Exports.Erasable(ctx, id); err != nil {
		return nil, err
	}
	if g, _ := s.target.Node.Catalog().Group(id); g.State != catalog.StateUnprotected {
		if _, _, err := s.operate(ctx, string(id), catalog.OpUnprotect, reason, false); err != nil {
			return nil, err
		}
	}
	before := s.target.Node.Catalog().Standing(id)
	o, _, err := s.operate(ctx, string(id), catalog.OpDeletePoints, reason, false)
	if err != nil {
		return nil, err
	}
	after := s.target.Node.Catalog().Standing(id)
	return &adminv1.UnprotectGroupResponse{Outcome: o, DeletedSegments: after.ErasedSegments - before.ErasedSegments, DeletedBytes: after.ErasedBytes - before.ErasedBytes}, nil
}

// lasts is how long the journal lasts, in the schema's form.
func lasts(st source.Status) *float64 {
	if st.Lasts == 0 {
		return nil
	}
	return proto.Float64(st.Lasts.Seconds())
}

// sourceStanding is what is decided about a group, as its source knows it.
func sourceStanding(st source.Status) *adminv1.Standing {
	out := &adminv1.Standing{By: st.Hold.By, Since: admin.FromNanos(st.Hold.Since), Reason: st.Hold.Reason}
	if st.Ask != nil {
		out.Untold = st.Ask.Op
	}
	if st.Hold == (ship.Hold{}) && out.Untold == "" {
		return nil
	}
	return out
}

// targetStanding is what is decided about a group, as the catalog has it.
func (s *Service) targetStanding(id redoubt.GroupID) *adminv1.Standing {
	st := s.target.Node.Catalog().Standing(id)
	if st.By == "" && st.Since == 0 && st.Erased == 0 {
		return nil
	}
	out := &adminv1.Standing{By: st.By, Since: admin.FromNanos(st.Since), Reason: st.Reason}
	if st.Erased != 0 {
		out.Deletion = &adminv1.Deletion{Began: admin.FromNanos(st.ErasedAt), Segments: st.ErasedSegments, Bytes: st.ErasedBytes}
		for _, n := range st.Left {
			out.Deletion.NodesLeft = append(out.Deletion.NodesLeft, string(n))
		}
	}
	return out
}
