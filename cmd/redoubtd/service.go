package main

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/version"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// service answers the admin RPC for the roles that this daemon has. What
// belongs to a role is in service_source.go and service_target.go.
type service struct {
	admin.Elsewhere
	node    *node
	source  sourceHost // nil without the role
	target  *targetRole
	started time.Time

	planScripts planScripts
}

// GetStatus describes this node and what it knows.
func (s *service) GetStatus(_ context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	out := &adminv1.GetStatusResponse{Node: &adminv1.NodeInfo{
		Name: s.node.cfg.Name, Roles: s.node.cfg.Roles(), Version: version.String(), Started: timestamppb.New(s.started),
		Now: timestamppb.Now(), Advertise: s.node.cfg.Advertise,
	}}
	want := redoubt.GroupID(r.GetGroup())
	if s.source != nil {
		out.Groups = append(out.Groups, s.sourceGroups(want)...)
	}
	if s.target != nil {
		out.Groups = append(out.Groups, s.targetGroups(want)...)
		out.Cluster = s.clusterNodes()
		out.Healing = healing(s.target.store)
	}
	for _, g := range out.Groups {
		g.Health = admin.Health(g)
	}
	if want != "" && len(out.Groups) == 0 {
		return nil, &redoubt.Error{Op: "find group", Object: string(want), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	return out, nil
}

// ListExports lists the disks that this node serves.
func (s *service) ListExports(_ context.Context, r *adminv1.ListExportsRequest) (*adminv1.ListExportsResponse, error) {
	want := redoubt.GroupID(r.GetGroup())
	out := &adminv1.ListExportsResponse{}
	if s.source != nil {
		out.Exports = append(out.Exports, s.sourceExports(want)...)
	}
	if s.target != nil {
		out.Exports = append(out.Exports, s.targetExports(want)...)
	}
	return out, nil
}

// GetLossReceipt answers at the old source with what its journal has, and at
// the secondary with a bound until the source is back, and then with everything.
func (s *service) GetLossReceipt(ctx context.Context, r *adminv1.GetLossReceiptRequest) (*adminv1.GetLossReceiptResponse, error) {
	if s.source != nil {
		if g, err := s.source.Group(redoubt.GroupID(r.GetGroup())); err == nil {
			return sourceReceipt(g, int(r.GetMaxWrites()))
		}
	}
	if s.target != nil {
		return s.targetReceipt(ctx, redoubt.GroupID(r.GetGroup()), int(r.GetMaxWrites()))
	}
	return s.Elsewhere.GetLossReceipt(ctx, r)
}

// stamp returns t in the schema's form, nil for the zero time.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() || t.UnixNano() == 0 {
		return nil
	}
	return timestamppb.New(t)
}

// nbdURI returns how NBD clients name an export on a unix socket.
func nbdURI(export, socket string) string { return "nbd+unix:///" + export + "?socket=" + socket }

// lag returns the age of the oldest write that is not yet safe, in seconds.
func lag(oldest time.Time) *float64 {
	v := 0.0
	if !oldest.IsZero() {
		v = max(0, time.Since(oldest).Seconds())
	}
	return &v
}
