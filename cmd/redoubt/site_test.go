package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// site serves one group, db, with its failover states, in memory: enough of a
// master target for the command to be used as an operator would.
type site struct {
	admin.Elsewhere
	mu      sync.Mutex
	state   string
	epoch   uint64
	at      *adminv1.Position
	tests   map[string]*adminv1.Export
	polls   int
	looks   int  // at the group live
	dropped bool // the branch

	added, leaves bool // node t4, node t3
	gone          int  // looks at node t3 since it is to go
}

func newSite() *site {
	return &site{Elsewhere: admin.Elsewhere{Why: "this node is a target", Hint: "ask the source: --server https://host1:7700"},
		state: "Protected", epoch: 1, tests: map[string]*adminv1.Export{}}
}

var clock = time.Date(2026, 11, 22, 22, 15, 3, 250000000, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(clock.Add(-d)) }

func known(op, group string) error {
	if group == "db" {
		return nil
	}
	return &redoubt.Error{Op: op, Object: group, Err: redoubt.ErrNotFound, Hint: "this cluster keeps: db"}
}

func (s *site) need(op string, states ...string) error {
	for _, st := range states {
		if s.state == st {
			return nil
		}
	}
	return &redoubt.Error{Op: op, Object: "db", Err: fmt.Errorf("the group is %s: %w", s.state, redoubt.ErrState), Hint: "allowed in " + strings.Join(states, ", ")}
}

func disks(socket string) []*adminv1.Disk {
	return []*adminv1.Disk{
		{Id: 1, Name: "root", Size: 20 << 30, Socket: socket, Export: "root", Uri: "nbd+unix:///root?socket=" + socket},
		{Id: 2, Name: "data", Size: 1536 << 20, Socket: socket, Export: "data", Uri: "nbd+unix:///data?socket=" + socket},
	}
}

func (s *site) export(id, kind string, p *adminv1.Position) *adminv1.Export {
	sock := "/run/redoubt/export/" + id + ".sock"
	return &adminv1.Export{Id: id, Group: "db", Kind: kind, Position: p, Time: ago(time.Second), Socket: sock, Disks: disks(sock), Node: "t1", Created: ago(0)}
}

func (s *site) resolve(p *adminv1.PointSpec) (*adminv1.Position, error) {
	lsn := uint64(48123)
	switch at := p.GetAt().(type) {
	case *adminv1.PointSpec_Lsn:
		lsn = at.Lsn
	case *adminv1.PointSpec_Position:
		return at.Position, nil
	case *adminv1.PointSpec_Time:
		if at.Time.AsTime().After(clock) {
			return nil, &redoubt.Error{Op: "find point", Object: "db", Err: redoubt.ErrNotFound, Hint: "the newest point is of " + clock.Format(time.RFC3339Nano)}
		}
		lsn = 40000
	}
	if lsn > 48123 {
		return nil, &redoubt.Error{Op: "find point", Object: "db", Err: redoubt.ErrNotFound, Hint: "points reach from 1:100 to 1:48123"}
	}
	return &adminv1.Position{Epoch: 1, Lsn: lsn}, nil
}

func (s *site) GetStatus(_ context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Group == "live" {
		return s.live(), nil
	}
	if r.Group != "" {
		if err := known("status", r.Group); err != nil {
			return nil, err
		}
	}
	g := &adminv1.Group{
		Id: "db", Uuid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Role: "target", State: s.state, AllowedOperations: []string{"Bookmark", "TestFailover"},
		Epoch: s.epoch, Lineage: []*adminv1.Fork{{Epoch: 1}}, Writer: "source/host1", Owner: "t2", Source: "host1", SourceAddress: "host1:7700",
		Head: &adminv1.Position{Epoch: 1, Lsn: 48123}, HeadTime: ago(0), Committed: &adminv1.Position{Epoch: 1, Lsn: 48100}, CommittedTime: ago(400 * time.Millisecond),
		BaselineLsn: 100, LagSeconds: proto.Float64(0.4), Journal: &adminv1.Journal{UsedBytes: 1288490189, MaxBytes: 4 << 30, TailLsn: 40001},
		Link:       &adminv1.Link{Peer: "source/host1", LastContact: ago(75 * time.Second), LastError: "connection reset by peer"},
		Redundancy: &adminv1.Redundancy{Data: 2, Parity: 1, Segments: 120, DegradedSegments: 3, BareSegments: 1, StoredBytes: 3 << 30},
		Disks:      disks("/run/redoubt/db.sock"), ReadOnly: true, ReadOnlyReason: "the source writes",
	}
	g.Health = admin.Health(g, admin.Beside{})
	g.Standing = &adminv1.Standing{By: "operator/ann", Since: ago(time.Hour), Reason: "link needed"}
	if s.state == "ReverseReplicating" { // one step of the copy at each look
		s.polls++
		done := min(uint64(s.polls)*(8<<20), 16<<20)
		g.Reverse = &adminv1.Reverse{Connected: true, Peer: "source/host1", BytesToCopy: 16 << 20, BytesCopied: done, InSync: done == 16<<20}
	}
	return &adminv1.GetStatusResponse{
		Healing: fakeHealing(),
		Node:    &adminv1.NodeInfo{Name: "t1", Roles: []string{"target"}, Version: "v0.1.0", Started: ago(76 * time.Hour), Now: ago(0), Advertise: "t1:7700"},
		Groups:  []*adminv1.Group{g},
		Cluster: s.cluster(),
	}, nil
}

func (s *site) ListPoints(_ context.Context, r *adminv1.ListPointsRequest) (*adminv1.ListPointsResponse, error) {
	if err := known("list points", r.Group); err != nil {
		return nil, err
	}
	p := func(lsn uint64, d time.Duration) *adminv1.Point {
		return &adminv1.Point{Position: &adminv1.Position{Epoch: 1, Lsn: lsn}, Time: ago(d), FirstLsn: lsn - 99, FirstTime: ago(d + time.Second), StoredBytes: 3 << 20}
	}
	out := &adminv1.ListPointsResponse{Latest: p(48123, 0), Earliest: p(199, time.Hour)}
	for i := range min(r.Limit, 3) {
		out.Points = append(out.Points, p(48123-100*uint64(i), time.Duration(i)*time.Second))
	}
	out.Truncated = r.Limit < 3
	return out, nil
}

func (s *site) ListExports(_ context.Context, r *adminv1.ListExportsRequest) (*adminv1.ListExportsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &adminv1.ListExportsResponse{}
	if s.at != nil {
		out.Exports = append(out.Exports, s.export("db-fo", "failover", s.at))
	}
	for _, x := range s.tests {
		out.Exports = append(out.Exports, x)
	}
	return out, nil
}

func (s *site) TestFailover(_ context.Context, r *adminv1.TestFailoverRequest) (*adminv1.TestFailoverResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := known("test failover", r.Group); err != nil {
		return nil, err
	}
	p, err := s.resolve(r.Point)
	if err != nil {
		return nil, err
	}
	x := s.export(fmt.Sprintf("db-test-%d", len(s.tests)+1), "test", p)
	s.tests[x.Id] = x
	return &adminv1.TestFailoverResponse{Export: x, TookMs: 41}, nil
}

func (s *site) CleanupTest(_ context.Context, r *adminv1.CleanupTestRequest) (*adminv1.CleanupTestResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &adminv1.CleanupTestResponse{FreedBytes: 1 << 20}
	for id := range s.tests {
		if r.Id == "" || r.Id == id {
			out.Ids = append(out.Ids, id)
			delete(s.tests, id)
		}
	}
	if r.Id != "" && len(out.Ids) == 0 {
		return nil, &redoubt.Error{Op: "clean up test failover", Object: r.Id, Err: redoubt.ErrNotFound}
	}
	return out, nil
}

func (s *site) promote(point *adminv1.PointSpec) (*adminv1.Promotion, *adminv1.Export, error) {
	p, err := s.resolve(point)
	if err != nil {
		return nil, nil, err
	}
	s.state, s.at, s.epoch = "FailoverCommitPending", p, s.epoch+1
	return &adminv1.Promotion{Position: p, PointTime: ago(time.Second), Epoch: s.epoch, Promoted: ago(0), Node: "t1",
		KnownHeadLsn: 48130, KnownHeadTime: ago(200 * time.Millisecond), UnknownSince: ago(150 * time.Millisecond)}, s.export("db-fo", "failover", p), nil
}

func (s *site) UnplannedFailover(_ context.Context, r *adminv1.UnplannedFailoverRequest) (*adminv1.UnplannedFailoverResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("unplanned failover", "Protected"); err != nil {
		return nil, err
	}
	p, x, err := s.promote(r.Point)
	return &adminv1.UnplannedFailoverResponse{Promotion: p, Export: x, TookMs: 612}, err
}

func (s *site) ChangeRecoveryPoint(_ context.Context, r *adminv1.ChangeRecoveryPointRequest) (*adminv1.ChangeRecoveryPointResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("change recovery point", "FailoverCommitPending"); err != nil {
		return nil, err
	}
	p, x, err := s.promote(r.Point)
	return &adminv1.ChangeRecoveryPointResponse{Promotion: p, Export: x, TookMs: 300}, err
}

func (s *site) CommitFailover(context.Context, *adminv1.CommitFailoverRequest) (*adminv1.CommitFailoverResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("commit failover", "FailoverCommitPending"); err != nil {
		return nil, err
	}
	s.state = "FailedOver"
	return &adminv1.CommitFailoverResponse{Position: s.at, Epoch: s.epoch}, nil
}

func (s *site) CancelFailover(context.Context, *adminv1.CancelFailoverRequest) (*adminv1.CancelFailoverResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("cancel failover", "FailoverCommitPending"); err != nil {
		return nil, err
	}
	s.state, s.at, s.epoch = "Protected", nil, s.epoch+1
	return &adminv1.CancelFailoverResponse{State: s.state, Epoch: s.epoch, Writer: "source/host1"}, nil
}

func (s *site) GetLossReceipt(context.Context, *adminv1.GetLossReceiptRequest) (*adminv1.GetLossReceiptResponse, error) {
	return &adminv1.GetLossReceiptResponse{Receipt: &adminv1.LossReceipt{
		Group: "db", Complete: true, Fork: &adminv1.Position{Epoch: 1, Lsn: 48123}, OldHead: &adminv1.Position{Epoch: 1, Lsn: 48125}, Records: 2, Bytes: 8192,
		FirstTime: ago(100 * time.Millisecond), LastTime: ago(50 * time.Millisecond), Branch: "/var/lib/redoubt/groups/db/branch-1-48123",
		Writes: []*adminv1.LostWrite{{Lsn: 48124, Time: ago(100 * time.Millisecond), Disk: 2, Kind: "write", Extent: &adminv1.Extent{Off: 4096, Len: 4096}}}, Truncated: true,
		Disks: []*adminv1.DiskExtents{{Disk: 2, Name: "data", Bytes: 8192, Extents: []*adminv1.Extent{{Off: 4096, Len: 8192}}}},
	}}, nil
}

func (s *site) ReverseReplicate(context.Context, *adminv1.ReverseReplicateRequest) (*adminv1.ReverseReplicateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("reverse replicate", "FailedOver"); err != nil {
		return nil, err
	}
	s.state = "ReverseReplicating"
	return &adminv1.ReverseReplicateResponse{DirtyBytes: 16 << 20, Fork: s.at, OrphanRecords: 2, Peer: "source/host1",
		Disks: []*adminv1.DiskExtents{{Disk: 2, Name: "data", Bytes: 16 << 20, Extents: []*adminv1.Extent{{Off: 0, Len: 16 << 20}}}}}, nil
}

func (s *site) Failback(context.Context, *adminv1.FailbackRequest) (*adminv1.FailbackResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need("failback", "ReverseReplicating"); err != nil {
		return nil, err
	}
	s.state, s.epoch = "Protected", s.epoch+1
	return &adminv1.FailbackResponse{Position: &adminv1.Position{Epoch: s.epoch - 1, Lsn: 50000}, Epoch: s.epoch, PausedMs: 840, Writer: "source/host1"}, nil
}

func fakeHealing() *adminv1.Healing {
	return &adminv1.Healing{
		Repair: &adminv1.Repair{MissingSegments: 3, MissingBytes: 3 << 20, BareSegments: 1, BytesPerSecond: 1 << 20, EtaSeconds: proto.Float64(3), AllowedBytesPerSecond: 8 << 20, Pace: "what ingest leaves"},
		Scrub: &adminv1.Scrub{Running: true, Pass: 4, Started: ago(time.Minute), DoneBytes: 1 << 30, TotalBytes: 3 << 30, Rate: 16 << 20, PassSeconds: proto.Float64(192),
			IntervalSeconds: 7 * 86400, Found: &adminv1.ScrubFindings{Shards: 40, Bytes: 1 << 30, Rotten: 2}},
	}
}

func (s *site) Scrub(_ context.Context, r *adminv1.ScrubRequest) (*adminv1.ScrubResponse, error) {
	if r.Node != "" && r.Node != "t1" {
		return nil, &redoubt.Error{Op: "find node", Object: r.Node, Err: redoubt.ErrNotFound}
	}
	h := fakeHealing()
	return &adminv1.ScrubResponse{Node: "t1", Scrub: h.Scrub, Repair: h.Repair}, nil
}

func (s *site) move(op, from, to string) (*adminv1.GroupOutcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.need(op, from); err != nil {
		return nil, err
	}
	s.state = to
	return &adminv1.GroupOutcome{State: to, Epoch: s.epoch, Agreed: to != "Paused"}, nil
}

func (s *site) PauseGroup(context.Context, *adminv1.PauseGroupRequest) (*adminv1.PauseGroupResponse, error) {
	o, err := s.move("pause", "Protected", "Paused")
	return &adminv1.PauseGroupResponse{Outcome: o, JournalLastsSeconds: proto.Float64(7260)}, err
}

func (s *site) ResumeGroup(context.Context, *adminv1.ResumeGroupRequest) (*adminv1.ResumeGroupResponse, error) {
	o, err := s.move("resume", "Paused", "Protected")
	return &adminv1.ResumeGroupResponse{Outcome: o}, err
}

func (s *site) UnprotectGroup(_ context.Context, r *adminv1.UnprotectGroupRequest) (*adminv1.UnprotectGroupResponse, error) {
	o, err := s.move("unprotect", "Protected", "Unprotected")
	out := &adminv1.UnprotectGroupResponse{Outcome: o}
	if r.DeletePoints {
		out.DeletedSegments, out.DeletedBytes = 120, 3<<30
	}
	return out, err
}

func (s *site) ProtectGroup(context.Context, *adminv1.ProtectGroupRequest) (*adminv1.ProtectGroupResponse, error) {
	o, err := s.move("protect", "Unprotected", "InitialSync")
	return &adminv1.ProtectGroupResponse{Outcome: o}, err
}
