package service

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/source"
)

// Verify begins to compare the sites, at the source, or to compute the root
// hash of a point, here.
func (s *Service) Verify(ctx context.Context, r *adminv1.VerifyRequest) (*adminv1.VerifyResponse, error) {
	id := redoubt.GroupID(r.GetGroup())
	if r.GetAt() != "" {
		st, err := s.verifyPoint(ctx, id, r)
		return &adminv1.VerifyResponse{Status: st}, err
	}
	if g := s.verifiedHere(id); g != nil {
		if r.GetStop() {
			g.StopVerify()
		} else if err := g.StartVerify(); err != nil {
			return nil, err
		}
		return &adminv1.VerifyResponse{Status: verifyStatus(g)}, nil
	}
	c, err := s.verifiedAtSource(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Verify(ctx, r)
}

// GetVerify tells how far a verification is.
func (s *Service) GetVerify(ctx context.Context, r *adminv1.GetVerifyRequest) (*adminv1.GetVerifyResponse, error) {
	id := redoubt.GroupID(r.GetGroup())
	out := &adminv1.GetVerifyResponse{}
	if s.target != nil {
		if _, ok := s.target.Node.Catalog().Group(id); ok {
			out.History = verifications(s.target.Node.Catalog().DisksEver(id), s.target.Node.Catalog().Verifications(id))
		}
	}
	if r.GetAt() != "" {
		st, err := s.pointStatus(ctx, id, r.GetAt())
		out.Status = st
		return out, err
	}
	if g := s.verifiedHere(id); g != nil {
		out.Status = verifyStatus(g)
		return out, nil
	}
	c, err := s.verifiedAtSource(ctx, id)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	there, err := c.GetVerify(ctx, r)
	if err != nil {
		return nil, err
	}
	out.Status = there.Status
	return out, nil
}

// verifiedHere returns the group if this host protects it.
func (s *Service) verifiedHere(id redoubt.GroupID) *source.Group {
	if s.source == nil {
		return nil
	}
	g, err := s.source.Group(id)
	if err != nil {
		return nil
	}
	return g
}

// verifiedAtSource returns a client of the host that protects the group.
func (s *Service) verifiedAtSource(ctx context.Context, id redoubt.GroupID) (*admin.Client, error) {
	if s.target == nil {
		return nil, &redoubt.Error{Op: "verify group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups of this host"}
	}
	return s.atSource(ctx, id)
}

func verifyStatus(g *source.Group) *adminv1.VerifyStatus {
	st := g.VerifyStatus()
	out := &adminv1.VerifyStatus{Running: st.Running, Started: stamp(st.Started), DoneBlocks: st.Done, AllBlocks: st.All}
	if st.Err != nil {
		out.Error, out.Hint = st.Err.Error(), redoubt.Hint(st.Err)
	}
	if st.Last != nil {
		now := g.Status()
		out.Last = verification(*st.Last, slices.Concat(now.Disks, now.Gone))
	}
	return out
}

func verification(r compare.Record, disks []redoubt.Disk) *adminv1.Verification {
	out := &adminv1.Verification{
		Epoch: uint64(r.At.Epoch), Lsn: uint64(r.At.LSN), Root: r.Root.String(), Started: stamp(time.Unix(0, r.Started)), Finished: stamp(time.Unix(0, r.Finished)),
		Compared: r.Compared, Blocks: r.Blocks, MovedBlocks: r.Moved, UnsettledBlocks: r.Unsettled, DifferingBlocks: r.Differing, Passes: r.Passes,
		HashBytes: r.HashBytes, ReadBytes: r.ReadBytes,
	}
	for _, x := range r.Extents {
		out.Extents = append(out.Extents, differing(x.Disk, x.Extent, disks))
	}
	return out
}

func differing(id redoubt.DiskID, e redoubt.Extent, disks []redoubt.Disk) *adminv1.DifferingExtent {
	out := &adminv1.DifferingExtent{Disk: uint32(id), Off: e.Off, Len: e.Len}
	for _, d := range disks {
		if d.ID == id {
			out.Name = d.Name
		}
	}
	return out
}

// briefly is verifyStatus without the extents, for the group's status.
func briefly(st *adminv1.VerifyStatus) *adminv1.VerifyStatus {
	if st.GetLast() != nil {
		st.Last.Extents = nil
	}
	return st
}

// verifications returns what the catalog remembers, newest first.
func verifications(disks []redoubt.Disk, vs []catalog.Verification) []*adminv1.Verification {
	var out []*adminv1.Verification
	for i := len(vs) - 1; i >= 0; i-- {
		out = append(out, remembered(&vs[i], disks))
	}
	return out
}

func remembered(v *catalog.Verification, disks []redoubt.Disk) *adminv1.Verification {
	r := compare.Record{At: v.At, Root: v.Root, Started: v.Started, Finished: v.Finished, Compared: v.Compared,
		Blocks: v.Blocks, Moved: v.Moved, Unsettled: v.Unsettled, Differing: v.Differing, Passes: v.Passes}
	for _, x := range v.Extents {
		r.Extents = append(r.Extents, compare.DiskExtent{Disk: x.Disk, Extent: x.Extent})
	}
	out := verification(r, disks)
	out.By = v.By
	return out
}

// lastVerified is what the group's status says of comparisons at the secondary.
func (s *Service) lastVerified(g catalog.Group) *adminv1.VerifyStatus {
	vs := s.target.Node.Catalog().Verifications(g.ID)
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].Compared {
			return briefly(&adminv1.VerifyStatus{Last: remembered(&vs[i], s.target.Node.Catalog().DisksEver(g.ID))})
		}
	}
	return nil
}

// rootBefore returns the root hash that an earlier verification found for the point.
func rootBefore(vs []catalog.Verification, at redoubt.Position, started int64) string {
	for i := len(vs) - 1; i >= 0; i-- {
		if vs[i].At == at && vs[i].Finished <= started {
			return hex.EncodeToString(vs[i].Root[:])
		}
	}
	return ""
}
