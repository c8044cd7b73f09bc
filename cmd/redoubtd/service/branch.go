package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target/export"
)

// sourcePatience bounds a question to a group's source, which may be gone.
const sourcePatience = 10 * time.Second

// ListBranches lists the tails that failovers have left: those that the source
// keeps, and at a target also those in the history.
func (s *Service) ListBranches(ctx context.Context, r *adminv1.ListBranchesRequest) (*adminv1.ListBranchesResponse, error) {
	id := redoubt.GroupID(r.GetGroup())
	if g := s.sourceGroupOf(id); g != nil {
		return s.keptBranches(g)
	}
	if s.target == nil {
		return s.Elsewhere.ListBranches(ctx, r)
	}
	stretches, err := s.target.Store.History().Branches(id)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListBranchesResponse{}
	for _, b := range stretches {
		out.Branches = append(out.Branches, &adminv1.Branch{Id: redoubt.Position{Epoch: b.Epoch, LSN: b.To}.String(), KeptBy: "history",
			Epoch: uint64(b.Epoch), AfterLsn: uint64(b.From), HeadLsn: uint64(b.To)})
	}
	there, err := s.branchesAtSource(ctx, id)
	if err != nil {
		out.SourceError = err.Error()
	}
	out.Branches = append(out.Branches, there...)
	return out, nil
}

// sourceGroupOf returns the group if this daemon is its source.
func (s *Service) sourceGroupOf(id redoubt.GroupID) *source.Group {
	if s.source == nil {
		return nil
	}
	g, err := s.source.Group(id)
	if err != nil {
		return nil
	}
	return g
}

func (s *Service) keptBranches(g *source.Group) (*adminv1.ListBranchesResponse, error) {
	bs, err := g.Branches()
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListBranchesResponse{}
	st := g.Status()
	for _, b := range bs {
		out.Branches = append(out.Branches, s.keptBranch(b, slices.Concat(st.Disks, st.Gone)))
	}
	return out, nil
}

func (s *Service) keptBranch(b source.Branch, disks []redoubt.Disk) *adminv1.Branch {
	m := &adminv1.Branch{Id: b.ID, KeptBy: "source/" + s.node.Name, Epoch: uint64(b.After.Epoch), AfterLsn: uint64(b.After.LSN), HeadLsn: uint64(max(b.Last, b.After.LSN)),
		Records: uint64(b.Records), Bytes: uint64(b.Bytes), FirstTime: admin.FromNanos(b.FirstTime), LastTime: admin.FromNanos(b.LastTime)}
	for _, d := range disks {
		if n := b.Disks[d.ID.String()]; n > 0 {
			m.Disks = append(m.Disks, &adminv1.BranchDisk{Disk: uint32(d.ID), Bytes: n})
		}
	}
	return m
}

// atSource returns a client of the group's source.
func (s *Service) atSource(ctx context.Context, id redoubt.GroupID) (*admin.Client, error) {
	g, ok := s.target.Node.Catalog().Group(id)
	if !ok {
		return nil, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	if g.SourceAddr == "" {
		return nil, &redoubt.Error{Op: "ask the source of", Object: string(id), Err: redoubt.ErrUnavailable, Hint: "it has not said where it listens: set listen and advertise in its redoubtd.yaml"}
	}
	return s.forward(ctx, g.SourceAddr)
}

func (s *Service) branchesAtSource(ctx context.Context, id redoubt.GroupID) ([]*adminv1.Branch, error) {
	c, err := s.atSource(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	r, err := c.ListBranches(ctx, &adminv1.ListBranchesRequest{Group: string(id)})
	return r.GetBranches(), err
}

// tail returns a branch that the source keeps, in a form that can be opened.
func (s *Service) tail(ctx context.Context, id redoubt.GroupID, branch string) (export.Tail, error) {
	bs, err := s.branchesAtSource(ctx, id)
	if err != nil {
		return export.Tail{}, err
	}
	for _, b := range bs {
		if b.Id != branch {
			continue
		}
		return export.Tail{ID: b.Id, After: redoubt.Position{Epoch: redoubt.Epoch(b.Epoch), LSN: redoubt.LSN(b.AfterLsn)}, Head: redoubt.LSN(b.HeadLsn),
			Read: func(ctx context.Context, fn func([]redoubt.Write) error) error {
				c, err := s.atSource(ctx, id)
				if err != nil {
					return err
				}
				defer c.Close()
				return c.ReadBranch(ctx, id, branch, fn)
			}}, nil
	}
	return export.Tail{}, &redoubt.Error{Op: "open branch", Object: string(id) + "/" + branch, Err: redoubt.ErrNotFound, Hint: "`redoubt branch list` names the branches; those in the history are opened with --at"}
}

// testOf opens what a request for a test failover names.
func (s *Service) testOf(ctx context.Context, r *adminv1.TestFailoverRequest) (*export.Instance, error) {
	id := redoubt.GroupID(r.GetGroup())
	if r.GetLabel() != "" {
		return s.openTest(ctx, r)
	}
	if r.GetBranch() == "" {
		at, err := pointSpec(r.GetPoint())
		if err != nil {
			return nil, err
		}
		return s.target.Exports.Test(ctx, id, at, r.GetHydrate())
	}
	if r.GetPoint().GetAt() != nil {
		return nil, &redoubt.Error{Op: "open branch", Object: r.GetBranch(), Err: fmt.Errorf("a branch and a point: %w", redoubt.ErrInvalid), Hint: "name one of them"}
	}
	t, err := s.tail(ctx, id, r.GetBranch())
	if err != nil {
		return nil, err
	}
	return s.target.Exports.TestBranch(ctx, id, t, r.GetHydrate())
}

// readBranch streams a disk as the old primary had it: through a test failover
// that ends with the stream.
func (s *Service) readBranch(ctx context.Context, r *adminv1.ReadPointRequest, out *connect.ServerStream[adminv1.ReadPointResponse]) (err error) {
	id := redoubt.GroupID(r.GetGroup())
	in, err := s.testOf(ctx, &adminv1.TestFailoverRequest{Group: r.GetGroup(), Branch: r.GetBranch(), Point: r.GetPoint()})
	if err != nil {
		return err
	}
	defer func() {
		_, _, cerr := s.target.Exports.Cleanup(id, in.ID)
		err = errors.Join(err, cerr)
	}()
	disk, ok := findDisk(in.Disks, r.GetDisk())
	if !ok {
		return noDisk(r, "branch "+in.Branch, in.Disks)
	}
	p := pointStream{out: out}
	if err := p.head(in.Head(), in.Time, disk.Size); err != nil {
		return err
	}
	if err := in.EachData(ctx, disk.Name, p.data); err != nil {
		return err
	}
	return p.end()
}

// DropBranch deletes a branch that the source keeps.
func (s *Service) DropBranch(ctx context.Context, r *adminv1.DropBranchRequest) (*adminv1.DropBranchResponse, error) {
	id := redoubt.GroupID(r.GetGroup())
	if g := s.sourceGroupOf(id); g != nil {
		b, err := g.DropBranch(r.GetId())
		if err != nil {
			return nil, err
		}
		st := g.Status()
		return &adminv1.DropBranchResponse{Dropped: s.keptBranch(b, slices.Concat(st.Disks, st.Gone))}, nil
	}
	if s.target == nil {
		return s.Elsewhere.DropBranch(ctx, r)
	}
	c, err := s.atSource(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out, err := c.DropBranch(ctx, r)
	if err != nil {
		return nil, err
	}
	return out, s.target.Exports.UnpinBranch(ctx, id, r.GetId())
}

// StreamBranch streams the writes of a branch that this source keeps.
func (s *Service) StreamBranch(ctx context.Context, r *adminv1.StreamBranchRequest, out *connect.ServerStream[adminv1.StreamBranchResponse]) error {
	g := s.sourceGroupOf(redoubt.GroupID(r.GetGroup()))
	if g == nil {
		return s.Elsewhere.StreamBranch(ctx, r, out)
	}
	err := g.ReadBranch(ctx, r.GetId(), func(ws []redoubt.Write) error {
		m := &adminv1.StreamBranchResponse{}
		for i := range ws {
			w := &ws[i]
			m.Writes = append(m.Writes, &adminv1.BranchWrite{Lsn: uint64(w.LSN), Time: w.Time, Disk: uint32(w.Disk), Kind: uint32(w.Kind), Off: w.Extent.Off, Len: w.Extent.Len, Data: w.Data, Crc32C: w.CRC})
		}
		return out.Send(m)
	})
	if err != nil {
		return err
	}
	return out.Send(&adminv1.StreamBranchResponse{End: true})
}
