package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// readMessage is how much data one message of a stream carries at most.
const readMessage = 1 << 20

// ReadPoint streams a disk at a point. The stream's flow control holds the
// reading back, so memory is bounded by what EachData reads ahead.
func (s *Service) ReadPoint(ctx context.Context, r *adminv1.ReadPointRequest, out *connect.ServerStream[adminv1.ReadPointResponse]) (err error) {
	switch {
	case s.target == nil:
		return s.Elsewhere.ReadPoint(ctx, r, out)
	case r.GetBranch() != "":
		return s.readBranch(ctx, r, out)
	}
	st, group := s.target.Store, redoubt.GroupID(r.GetGroup())
	spec, err := pointSpec(r.GetPoint())
	if err != nil {
		return err
	}
	pos, at, err := st.History().Resolve(ctx, group, spec)
	if err != nil {
		return err
	}
	v, err := st.View(ctx, group, pos)
	if err != nil {
		return err
	}
	defer v.Close()
	disk, ok := findDisk(v.Disks(), r.GetDisk())
	if !ok {
		return noDisk(r, "point "+pos.String(), v.Disks())
	}
	p := pointStream{out: out}
	if err := p.head(pos, at, disk.Size); err != nil {
		return err
	}
	if err := v.EachData(ctx, disk.ID, p.data); err != nil {
		return err
	}
	return p.end()
}

// pointStream sends the messages of a ReadPoint.
type pointStream struct {
	out  *connect.ServerStream[adminv1.ReadPointResponse]
	sent uint64
}

func (p *pointStream) head(at redoubt.Position, when time.Time, size uint64) error {
	h := &adminv1.PointHeader{Position: admin.FromPosition(at), Time: stamp(when), Size: size}
	return p.out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Header{Header: h}})
}

func (p *pointStream) data(off uint64, data []byte) error {
	for len(data) > 0 {
		b := data[:min(len(data), readMessage)]
		m := &adminv1.PointData{Off: off, Data: b, Crc32C: redoubt.Checksum(b)}
		if err := p.out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Data{Data: m}}); err != nil {
			return err
		}
		off, data, p.sent = off+uint64(len(b)), data[len(b):], p.sent+uint64(len(b))
	}
	return nil
}

func (p *pointStream) end() error {
	return p.out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_End{End: &adminv1.PointEnd{DataBytes: p.sent}}})
}

// noDisk says which disks there are at what was asked for: a disk may have joined
// later, or left before.
func noDisk(r *adminv1.ReadPointRequest, at string, disks []redoubt.Disk) error {
	var names []string
	for _, d := range disks {
		names = append(names, d.Name)
	}
	return &redoubt.Error{Op: "read point", Object: r.GetGroup() + "/" + r.GetDisk(), Err: fmt.Errorf("%s does not have it: %w", at, redoubt.ErrNotFound),
		Hint: "it has " + strings.Join(names, ", ") + "; `redoubt points` says which disks points have"}
}

func findDisk(disks []redoubt.Disk, name string) (redoubt.Disk, bool) {
	for _, d := range disks {
		if d.Name == name {
			return d, true
		}
	}
	return redoubt.Disk{}, false
}
