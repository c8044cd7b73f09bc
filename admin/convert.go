package admin

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// FromPosition returns p in the schema's form, nil for the zero position.
func FromPosition(p redoubt.Position) *adminv1.Position {
	if p.IsZero() {
		return nil
	}
	return &adminv1.Position{Epoch: uint64(p.Epoch), Lsn: uint64(p.LSN)}
}

// ToPosition returns p in the root package's form; nil gives the zero position.
func ToPosition(p *adminv1.Position) redoubt.Position {
	return redoubt.Position{Epoch: redoubt.Epoch(p.GetEpoch()), LSN: redoubt.LSN(p.GetLsn())}
}

// FromNanos returns a Unix time in nanoseconds in the schema's form, nil for 0.
func FromNanos(ns int64) *timestamppb.Timestamp {
	if ns == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(0, ns))
}

// ToNanos returns ts as Unix time in nanoseconds, 0 for nil.
func ToNanos(ts *timestamppb.Timestamp) int64 {
	if ts == nil {
		return 0
	}
	return ts.AsTime().UnixNano()
}

// FromLineage returns l in the schema's form.
func FromLineage(l redoubt.Lineage) []*adminv1.Fork {
	out := make([]*adminv1.Fork, len(l))
	for i, f := range l {
		out[i] = &adminv1.Fork{Epoch: uint64(f.Epoch), Parent: uint64(f.Parent), At: uint64(f.At)}
	}
	return out
}

// FromExtents returns es in the schema's form.
func FromExtents(es []redoubt.Extent) []*adminv1.Extent {
	out := make([]*adminv1.Extent, len(es))
	for i, e := range es {
		out[i] = FromExtent(e)
	}
	return out
}

// FromExtent returns e in the schema's form.
func FromExtent(e redoubt.Extent) *adminv1.Extent { return &adminv1.Extent{Off: e.Off, Len: e.Len} }
