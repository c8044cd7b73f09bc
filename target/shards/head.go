package shards

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
)

// Head returns the parsed head of a segment, from memory, this node's shard log
// or a peer; if all copies are gone, from the shards. It is shared: nobody changes it.
func (s *Site) Head(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	return s.heads.Load(headKey{sr, sg.Ordinal, sg.CRC}, func() (*ship.Delta, int64, error) {
		d, err := s.fetchHead(ctx, sr, sg)
		if err != nil {
			return nil, 0, err
		}
		return d, int64(d.HeadLen()) + int64(len(d.Entries))*72 + 256, nil
	})
}

func (s *Site) fetchHead(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	var last error
	try := func(b []byte, err error) *ship.Delta {
		if err == nil {
			var d *ship.Delta
			if d, err = parseHead(b, sr, sg); err == nil {
				return d
			}
		}
		last = err
		return nil
	}
	for i, n := range sg.Nodes {
		if n == s.o.Self {
			id := ID(sr, sg, i)
			b, err := s.o.Log.ReadHead(id)
			s.noticeRot(id, err)
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
	}
	for _, wantUp := range []bool{true, false} {
		for i, n := range sg.Nodes {
			if n == s.o.Self || s.o.Peers.Answers(n) != wantUp || ctx.Err() != nil {
				continue
			}
			b, err := s.o.Peers.Read(ctx, n, methodHead, peers.Encode(readRequest{ID: ID(sr, sg, i)}))
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
		if wantUp {
			b, err := s.ReadRange(ctx, sr, sg, 0, sg.HeadLen, nil)
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
	}
	return nil, &redoubt.Error{Op: "read head of segment", Object: SegmentName(sr, sg.Ordinal), Err: last, Hint: "are enough nodes up?"}
}

// parseHead parses a head and checks that it is the segment's.
func parseHead(b []byte, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	d, err := ship.ParseHead(b)
	if err != nil {
		return nil, err
	}
	if d.Group != sr.Group || d.Epoch != sg.Epoch || d.First != sg.First || d.Last != sg.Last || d.Size() != int(sg.Size) {
		return nil, fmt.Errorf("head of another segment: %w", redoubt.ErrCorrupt)
	}
	return d, nil
}

// Entry is what the index knows of an entry of a head.
func Entry(e *ship.Entry) index.Entry {
	return index.Entry{LSN: e.LSN, Disk: e.Disk, Extent: e.Extent, Zero: e.Kind.Zeroes(), Block: e.Block, BlockOff: e.BlockOff, CRC: e.CRC}
}
