package shards

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// SeriesOf names an epoch of a group as the index does.
func SeriesOf(g *catalog.Group, e redoubt.Epoch) index.Series {
	return index.Series{Group: g.ID, UUID: g.UUID, Epoch: e}
}

// SegmentName is what messages call a segment.
func SegmentName(sr index.Series, ordinal uint64) string {
	return fmt.Sprintf("%s/%d/%d", sr.Group, sr.Epoch, ordinal)
}

// ID is what shard logs call a shard of a segment.
func ID(sr index.Series, sg *catalog.Segment, shard int) segment.ID {
	return segment.ID{Group: sr.Group, UUID: sr.UUID, Epoch: sg.Epoch, Ordinal: sg.Ordinal, Shard: uint8(shard), CRC: sg.CRC}
}

// Segment returns the manifest of a committed segment. ErrNotFound if this node
// knows none.
func (s *Site) Segment(sr index.Series, ordinal uint64) (catalog.Segment, error) {
	if g, ok := s.o.Catalog.Group(sr.Group); ok && g.UUID == sr.UUID {
		if sg := s.o.Catalog.Segments(sr.Group, sr.Epoch, ordinal, 1); len(sg) == 1 {
			return sg[0], nil
		}
	}
	return catalog.Segment{}, &redoubt.Error{Op: "find segment", Object: SegmentName(sr, ordinal), Err: redoubt.ErrNotFound}
}

// SegmentHead returns a segment as it is now, with its head: nil if nothing is
// left of it. If it was thinned while its head was read, it is read again.
func (s *Site) SegmentHead(ctx context.Context, sr index.Series, ordinal uint64) (catalog.Segment, *ship.Delta, error) {
	for {
		sg, err := s.Segment(sr, ordinal)
		if err != nil || sg.Gone() {
			return sg, nil, err
		}
		d, err := s.Head(ctx, sr, &sg)
		if err == nil || !s.Outdated(ctx, sr, &sg) {
			return sg, d, err
		}
	}
}
