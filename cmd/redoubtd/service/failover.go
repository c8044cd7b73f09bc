package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target/export"
	"github.com/redoubt-dr/redoubt/target/history"
)

// ListPoints lists the stretches of writes that can be opened.
func (s *Service) ListPoints(ctx context.Context, r *adminv1.ListPointsRequest) (*adminv1.ListPointsResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ListPoints(ctx, r)
	}
	return s.listPoints(ctx, r)
}

// TestFailover opens a point beside production.
func (s *Service) TestFailover(ctx context.Context, r *adminv1.TestFailoverRequest) (*adminv1.TestFailoverResponse, error) {
	if s.target == nil {
		return s.Elsewhere.TestFailover(ctx, r)
	}
	if c, err := s.elsewhere(ctx, redoubt.NodeID(r.GetNode())); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.TestFailover(ctx, r)
	}
	start := time.Now()
	in, err := s.testOf(ctx, r)
	if err != nil {
		return nil, err
	}
	return &adminv1.TestFailoverResponse{Export: s.exportInfo(in), TookMs: millis(start)}, nil
}

// CleanupTest ends a test failover.
func (s *Service) CleanupTest(ctx context.Context, r *adminv1.CleanupTestRequest) (*adminv1.CleanupTestResponse, error) {
	if s.target == nil {
		return s.Elsewhere.CleanupTest(ctx, r)
	}
	if at, ok := export.TestNode(r.GetId()); ok {
		if c, err := s.elsewhere(ctx, at); err != nil {
			return nil, err
		} else if c != nil {
			defer c.Close()
			return c.CleanupTest(ctx, r)
		}
	}
	ids, freed, err := s.closeTests(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &adminv1.CleanupTestResponse{Ids: ids, FreedBytes: freed}
	if r.GetId() != "" || r.GetLabel() != "" {
		return out, nil
	}
	return out, s.closeTestsElsewhere(ctx, r.GetGroup(), out)
}

// closeTestsElsewhere ends the group's test failovers that other nodes have open,
// as their pins say, and adds them to out. What was closed stays closed if a node
// does not answer.
func (s *Service) closeTestsElsewhere(ctx context.Context, group string, out *adminv1.CleanupTestResponse) error {
	var errs []error
	for _, p := range s.target.Node.Catalog().Retention(redoubt.GroupID(group)).Pins {
		at, test := export.TestNode(p.Name)
		if p.Kind != catalog.PinExport || !test || at == redoubt.NodeID(s.node.Name) {
			continue
		}
		r, err := s.CleanupTest(ctx, &adminv1.CleanupTestRequest{Group: group, Id: p.Name})
		if err != nil && !errors.Is(err, redoubt.ErrNotFound) {
			errs = append(errs, &redoubt.Error{Op: "close test failover", Object: p.Name, Err: err,
				Hint: "the others are closed; bring node " + string(at) + " back and ask again"})
			continue
		}
		out.Ids, out.FreedBytes = append(out.Ids, r.GetIds()...), out.FreedBytes+r.GetFreedBytes()
	}
	return errors.Join(errs...)
}

// UnplannedFailover makes a point the production of the node that is asked.
func (s *Service) UnplannedFailover(ctx context.Context, r *adminv1.UnplannedFailoverRequest) (*adminv1.UnplannedFailoverResponse, error) {
	if s.target == nil {
		return s.Elsewhere.UnplannedFailover(ctx, r)
	}
	if c, err := s.elsewhere(ctx, redoubt.NodeID(r.GetNode())); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.UnplannedFailover(ctx, r)
	}
	start := time.Now()
	id := redoubt.GroupID(r.GetGroup())
	at, err := pointSpec(r.GetPoint())
	if err != nil {
		return nil, err
	}
	in, err := s.target.Exports.Failover(asked(ctx), id, at, r.GetHydrate())
	if err != nil {
		return nil, err
	}
	return &adminv1.UnplannedFailoverResponse{Promotion: s.promotionOf(in), Export: s.exportInfo(in), TookMs: millis(start)}, nil
}

// ChangeRecoveryPoint opens another point instead.
func (s *Service) ChangeRecoveryPoint(ctx context.Context, r *adminv1.ChangeRecoveryPointRequest) (*adminv1.ChangeRecoveryPointResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ChangeRecoveryPoint(ctx, r)
	}
	if c, err := s.atWriter(ctx, r.GetGroup()); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.ChangeRecoveryPoint(ctx, r)
	}
	start := time.Now()
	id := redoubt.GroupID(r.GetGroup())
	at, err := pointSpec(r.GetPoint())
	if err != nil {
		return nil, err
	}
	in, err := s.target.Exports.Change(asked(ctx), id, at, r.GetHydrate())
	if err != nil {
		return nil, err
	}
	return &adminv1.ChangeRecoveryPointResponse{Promotion: s.promotionOf(in), Export: s.exportInfo(in), TookMs: millis(start)}, nil
}

// CommitFailover makes the chosen point final.
func (s *Service) CommitFailover(ctx context.Context, r *adminv1.CommitFailoverRequest) (*adminv1.CommitFailoverResponse, error) {
	if s.target == nil {
		return s.Elsewhere.CommitFailover(ctx, r)
	}
	g, err := s.target.Exports.Commit(asked(ctx), redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	return &adminv1.CommitFailoverResponse{Position: admin.FromPosition(g.Promoted), Epoch: uint64(g.Epoch)}, nil
}

// CancelFailover gives the group back to its source.
func (s *Service) CancelFailover(ctx context.Context, r *adminv1.CancelFailoverRequest) (*adminv1.CancelFailoverResponse, error) {
	if r.GetForce() {
		return s.forceResume(ctx, redoubt.GroupID(r.GetGroup()))
	}
	if s.target == nil {
		return s.Elsewhere.CancelFailover(ctx, r)
	}
	if c, err := s.atWriter(ctx, r.GetGroup()); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.CancelFailover(ctx, r)
	}
	g, err := s.target.Exports.Cancel(asked(ctx), redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	return &adminv1.CancelFailoverResponse{State: g.State.String(), Epoch: uint64(g.Epoch), Writer: g.Writer}, nil
}

// ReverseReplicate ships to the old primary what differs, and follows.
func (s *Service) ReverseReplicate(ctx context.Context, r *adminv1.ReverseReplicateRequest) (*adminv1.ReverseReplicateResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ReverseReplicate(ctx, r)
	}
	if c, err := s.atWriter(ctx, r.GetGroup()); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.ReverseReplicate(ctx, r)
	}
	id := redoubt.GroupID(r.GetGroup())
	if err := s.writerAnswers(id); err != nil {
		return nil, err
	}
	p, err := s.target.Exports.Reverse(asked(ctx), id)
	if err != nil {
		return nil, err
	}
	g, _ := s.target.Node.Catalog().Group(id)
	return &adminv1.ReverseReplicateResponse{DirtyBytes: p.Bytes, Fork: admin.FromPosition(p.Fork), OrphanRecords: p.Orphans,
		Disks: diskExtents(g.Disks, p.Dirty), Peer: p.Peer}, nil
}

// Failback moves the writer back to the old primary.
func (s *Service) Failback(ctx context.Context, r *adminv1.FailbackRequest) (*adminv1.FailbackResponse, error) {
	if s.target == nil {
		return s.Elsewhere.Failback(ctx, r)
	}
	if c, err := s.atWriter(ctx, r.GetGroup()); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.Failback(ctx, r)
	}
	if err := s.writerAnswers(redoubt.GroupID(r.GetGroup())); err != nil {
		return nil, err
	}
	f, err := s.target.Exports.Failback(asked(ctx), redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	return &adminv1.FailbackResponse{Position: admin.FromPosition(f.Position), Epoch: uint64(f.Epoch), PausedMs: uint64(f.Paused.Milliseconds()), Writer: f.Writer}, nil
}

// elsewhere returns a client of the node that must answer, or nil if it is this one.
func (s *Service) elsewhere(ctx context.Context, at redoubt.NodeID) (*admin.Client, error) {
	if at == "" || at == redoubt.NodeID(s.node.Name) {
		return nil, nil
	}
	n, ok := s.target.Node.Catalog().Node(at)
	if !ok {
		return nil, &redoubt.Error{Op: "find node", Object: string(at), Err: redoubt.ErrNotFound, Hint: "`redoubt node list` names the nodes"}
	}
	return s.forward(ctx, n.Addr)
}

// forward returns a client of another node for the call of ctx, unless it has
// come here a second time.
func (s *Service) forward(ctx context.Context, addr string) (*admin.Client, error) {
	return admin.Forward(ctx, s.node.Name, "https://"+addr, func(target string) (*admin.Client, error) {
		return admin.Dial(target, s.node.Credentials)
	})
}

// atWriter returns a client of the node that exports the group, or nil if this
// node has to answer: it exports the group itself, no node does, or the one
// that does is gone.
func (s *Service) atWriter(ctx context.Context, group string) (*admin.Client, error) {
	if p, ok := admin.PeerFrom(ctx); ok && p.Name != "" && p.Role == pki.RoleTarget {
		return nil, nil // forwarded already
	}
	g, ok := s.target.Node.Catalog().Group(redoubt.GroupID(group))
	if !ok {
		return nil, nil
	}
	at, ok := strings.CutPrefix(g.Writer, catalog.TargetWriter(""))
	if !ok || !s.target.Node.Alive(redoubt.NodeID(at)) {
		return nil, nil
	}
	return s.elsewhere(ctx, redoubt.NodeID(at))
}

// writerAnswers refuses what only the node that has production can do while that
// one is gone.
func (s *Service) writerAnswers(id redoubt.GroupID) error {
	g, _ := s.target.Node.Catalog().Group(id)
	at := s.writerDown(g.Writer)
	if at == "" {
		return nil
	}
	return &redoubt.Error{Op: "ask the writer of group", Object: string(id), Err: fmt.Errorf("node %s does not answer: %w", at, redoubt.ErrUnavailable), Hint: "production is there: start redoubtd on it, then ask again"}
}

func (s *Service) promotionOf(in *export.Instance) *adminv1.Promotion {
	g, _ := s.target.Node.Catalog().Group(in.Group)
	p := promotion(g)
	p.PointTime = stamp(in.Time)
	return p
}

// pointSpec reads the point of a request. None is the latest one; a point of
// which the value is missing is refused, or it would be the latest one, too.
func pointSpec(p *adminv1.PointSpec) (out history.PointSpec, err error) {
	switch at := p.GetAt().(type) {
	case *adminv1.PointSpec_Time:
		out = history.PointSpec{Time: at.Time.AsTime()}
	case *adminv1.PointSpec_Lsn:
		out = history.PointSpec{LSN: redoubt.LSN(at.Lsn)}
	case *adminv1.PointSpec_Position:
		out = history.PointSpec{Position: admin.ToPosition(at.Position)}
	case *adminv1.PointSpec_Bookmark:
		out = history.PointSpec{Bookmark: at.Bookmark}
	case *adminv1.PointSpec_LatestApp:
		out = history.PointSpec{App: true}
	default:
		return history.PointSpec{}, nil
	}
	if out == (history.PointSpec{}) {
		err = &redoubt.Error{Op: "read recovery point", Err: fmt.Errorf("its value is missing or 0: %w", redoubt.ErrInvalid), Hint: "writes are numbered from 1; without a point, the latest is meant"}
	}
	return out, err
}

func millis(start time.Time) uint64 { return uint64(time.Since(start).Milliseconds()) }

var _ Source = (*source.Host)(nil)
