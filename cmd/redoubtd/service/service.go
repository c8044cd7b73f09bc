package service

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/version"
	"github.com/redoubt-dr/redoubt/plan"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target"
	"github.com/redoubt-dr/redoubt/target/check"
	"github.com/redoubt-dr/redoubt/target/export"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Node is who answers.
type Node struct {
	Name        string
	Roles       []string
	Advertise   string // where others reach the node, HOST:PORT
	Scripts     string // folder of the scripts of recovery plans, empty if there is none
	Started     time.Time
	Credentials *pki.Credentials // for calls to other nodes
	Logger      *slog.Logger
}

// Source is what a Service asks of the role source.
type Source interface {
	Group(redoubt.GroupID) (*source.Group, error)
	Groups() []*source.Group
}

// Target is what a Service asks of the role target.
type Target struct {
	Node    *cluster.Node
	Store   *target.Store
	Exports *export.Manager
	Checker *check.Checker
}

// Service implements admin.Service. What belongs to a role is in source.go and
// target.go; what only the other role can answer is refused with a hint. It is
// safe for concurrent use.
type Service struct {
	admin.Elsewhere
	node   Node
	source Source  // nil without the role
	target *Target // nil without the role

	planScripts planScripts
	plans       *plan.Driver // nil until DrivePlans
	roots       rootJobs
}

// New returns the service of a node. A role that it does not have is nil.
func New(n Node, src Source, t *Target) *Service {
	s := &Service{node: n, source: src, target: t, roots: rootJobs{by: map[redoubt.GroupID]*rootJob{}}}
	s.Elsewhere = admin.Elsewhere{Why: "this node is not a master target", Hint: "ask a node of the secondary site: --server https://HOST:PORT"}
	if src == nil {
		s.Elsewhere = admin.Elsewhere{Why: "this node is not a source", Hint: "ask the host whose disks are protected"}
	}
	return s
}

// DrivePlans begins to carry out runs of recovery plans, at a node with the role
// target. A run whose node is silent for lease goes on at another one. It is
// called once, before the first request.
func (s *Service) DrivePlans(lease time.Duration) {
	s.plans = plan.Open(plan.Options{ID: redoubt.NodeID(s.node.Name), Cluster: s.target.Node, Site: planSite{s}, Logger: s.node.Logger, Lease: lease})
}

// Close ends what runs in the background. Nobody may call the service any more.
func (s *Service) Close() error {
	var err error
	if s.plans != nil {
		err = s.plans.Close()
	}
	return errors.Join(err, s.roots.close())
}

// GetStatus describes this node and what it knows.
func (s *Service) GetStatus(_ context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	out := &adminv1.GetStatusResponse{Node: &adminv1.NodeInfo{
		Name: s.node.Name, Roles: s.node.Roles, Version: version.String(), Started: timestamppb.New(s.node.Started),
		Now: timestamppb.Now(), Advertise: s.node.Advertise,
	}}
	want := redoubt.GroupID(r.GetGroup())
	if s.source != nil {
		out.Groups = append(out.Groups, s.sourceGroups(want)...)
	}
	if s.target != nil {
		out.Groups = append(out.Groups, s.targetGroups(want)...)
		out.Cluster = s.clusterNodes()
		out.Healing = healing(s.target.Store)
	}
	for _, g := range out.Groups {
		g.Health = admin.Health(g, s.beside(g))
	}
	if want != "" && len(out.Groups) == 0 {
		return nil, &redoubt.Error{Op: "find group", Object: string(want), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	return out, nil
}

// beside is what the health of g depends on beside g.
func (s *Service) beside(g *adminv1.Group) admin.Beside {
	b := admin.Beside{WriterDown: s.writerDown(g.GetWriter())}
	if s.source == nil || g.GetRole() != "source" {
		return b
	}
	if sg, err := s.source.Group(redoubt.GroupID(g.GetId())); err == nil {
		r := sg.Role()
		b.Replaced = r.Replaced && r.Mode == source.ModeWriter
	}
	return b
}

// writerDown returns the other master target that writes a group and does not
// answer, or nothing.
func (s *Service) writerDown(writer string) string {
	at, ok := strings.CutPrefix(writer, catalog.TargetWriter(""))
	if !ok || s.target == nil || at == s.node.Name || s.target.Node.Alive(redoubt.NodeID(at)) {
		return ""
	}
	return at
}

// ListExports lists the disks that this node serves.
func (s *Service) ListExports(_ context.Context, r *adminv1.ListExportsRequest) (*adminv1.ListExportsResponse, error) {
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
func (s *Service) GetLossReceipt(ctx context.Context, r *adminv1.GetLossReceiptRequest) (*adminv1.GetLossReceiptResponse, error) {
	if s.source != nil {
		if g, err := s.source.Group(redoubt.GroupID(r.GetGroup())); err == nil {
			return sourceReceipt(g, listedWrites(r.GetMaxWrites()))
		}
	}
	if s.target != nil {
		return s.targetReceipt(ctx, redoubt.GroupID(r.GetGroup()), listedWrites(r.GetMaxWrites()))
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
