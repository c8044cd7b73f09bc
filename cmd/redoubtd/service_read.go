package main

import (
	"context"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// readMessage is how much data one message of a stream carries at most.
const readMessage = 1 << 20

// ReadPoint streams a disk at a point. The stream's flow control holds the
// reading back, so memory is bounded by what EachData reads ahead.
func (s *service) ReadPoint(ctx context.Context, r *adminv1.ReadPointRequest, out *connect.ServerStream[adminv1.ReadPointResponse]) (err error) {
	if s.target == nil {
		return s.Elsewhere.ReadPoint(ctx, r, out)
	}
	st, group := s.target.store, redoubt.GroupID(r.GetGroup())
	pos, at, err := st.Resolve(ctx, group, pointSpec(r.GetPoint()))
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
		return &redoubt.Error{Op: "read point", Object: r.GetGroup() + "/" + r.GetDisk(), Err: redoubt.ErrNotFound, Hint: "`redoubt group show` names the disks"}
	}
	head := &adminv1.PointHeader{Position: admin.FromPosition(pos), Time: stamp(at), Size: disk.Size}
	if err := out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Header{Header: head}}); err != nil {
		return err
	}
	var sent uint64
	err = v.EachData(ctx, disk.ID, func(off uint64, data []byte) error {
		for len(data) > 0 {
			b := data[:min(len(data), readMessage)]
			m := &adminv1.PointData{Off: off, Data: b, Crc32C: redoubt.Checksum(b)}
			if err := out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_Data{Data: m}}); err != nil {
				return err
			}
			off, data, sent = off+uint64(len(b)), data[len(b):], sent+uint64(len(b))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return out.Send(&adminv1.ReadPointResponse{Part: &adminv1.ReadPointResponse_End{End: &adminv1.PointEnd{DataBytes: sent}}})
}

func findDisk(disks []redoubt.Disk, name string) (redoubt.Disk, bool) {
	for _, d := range disks {
		if d.Name == name {
			return d, true
		}
	}
	return redoubt.Disk{}, false
}
