package view

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// rawBlock is an inflated block and which of its entries were checked.
type rawBlock struct {
	data    []byte
	mu      sync.Mutex
	checked map[uint64]bool
}

// entry returns the data of an entry after checking it against the checksum
// that was made where the data entered Redoubt.
func (b *rawBlock) entry(r index.Ref) ([]byte, error) {
	if uint64(r.BlockOff)+uint64(r.Len) > uint64(len(b.data)) {
		return nil, fmt.Errorf("entry %d+%d of a block of %d: %w", r.BlockOff, r.Len, len(b.data), redoubt.ErrCorrupt)
	}
	data := b.data[r.BlockOff : r.BlockOff+r.Len]
	key := uint64(r.BlockOff)<<32 | uint64(r.Len)
	b.mu.Lock()
	ok := b.checked[key]
	b.mu.Unlock()
	if ok {
		return data, nil
	}
	if redoubt.Checksum(data) != r.CRC {
		return nil, fmt.Errorf("checksum of the write: %w", redoubt.ErrCorrupt)
	}
	b.mu.Lock()
	b.checked[key] = true
	b.mu.Unlock()
	return data, nil
}

// copyPiece copies the bytes of a data piece that lies in the block.
func (b *rawBlock) copyPiece(q *index.Piece, dst []byte) error {
	data, err := b.entry(q.Ref)
	if err != nil {
		return err
	}
	if uint64(q.Ref.Skip)+q.Extent.Len > uint64(len(data)) {
		return fmt.Errorf("piece %d+%d of an entry of %d: %w", q.Ref.Skip, q.Extent.Len, len(data), redoubt.ErrCorrupt)
	}
	copy(dst, data[q.Ref.Skip:])
	return nil
}

// block returns an inflated block of a segment, shared with all Views.
func (r *Reader) block(ctx context.Context, sr index.Series, ordinal uint64, block uint32) (*rawBlock, error) {
	k := blockKey{segmentKey{sr, ordinal}, block}
	return r.blocks.Load(k, func() (*rawBlock, int64, error) {
		raw, err := r.loadBlock(ctx, sr, ordinal, block)
		if err != nil {
			return nil, 0, err
		}
		return &rawBlock{data: raw, checked: map[uint64]bool{}}, int64(len(raw)) + 256, nil
	})
}

// loadBlock reads a block. If that fails and the segment was thinned meanwhile,
// it is read again from what is left.
func (r *Reader) loadBlock(ctx context.Context, sr index.Series, ordinal uint64, block uint32) ([]byte, error) {
	for {
		sg, err := r.o.Shards.Segment(sr, ordinal)
		if err != nil {
			return nil, err
		}
		b, err := r.loadBlockOf(ctx, sr, sg, block)
		if err == nil || !r.o.Shards.Outdated(ctx, sr, &sg) {
			return b, err
		}
	}
}

func (r *Reader) loadBlockOf(ctx context.Context, sr index.Series, sg catalog.Segment, block uint32) ([]byte, error) {
	d, err := r.o.Shards.Head(ctx, sr, &sg)
	if err != nil {
		return nil, err
	}
	if err := hasBlock(sr, &sg, d, block); err != nil {
		return nil, err
	}
	ref := d.Blocks()[block]
	b, err := r.o.Shards.ReadRange(ctx, sr, &sg, ref.Off, ref.Len, nil)
	if err != nil {
		return nil, err
	}
	raw, err := ship.InflateBlock(ref, b, nil)
	if errors.Is(err, redoubt.ErrCorrupt) {
		return r.blockWithout(ctx, sr, &sg, ref, err)
	}
	return raw, err
}

// blockWithout computes a block that does not match its checksum although every
// shard's chunks did: a shard is wrong as a whole. It tries without each of the
// shards that the block was read from.
func (r *Reader) blockWithout(ctx context.Context, sr index.Series, sg *catalog.Segment, ref ship.BlockRef, cause error) ([]byte, error) {
	r.o.Logger.Error("block does not match its checksum; trying other shards", "segment", shards.SegmentName(sr, sg.Ordinal), "err", cause)
	for i := range int(sg.K) + int(sg.M) {
		b, err := r.o.Shards.ReadRange(ctx, sr, sg, ref.Off, ref.Len, func(j int) bool { return j == i })
		if err != nil {
			continue
		}
		if raw, err := ship.InflateBlock(ref, b, nil); err == nil {
			return raw, nil
		}
	}
	return nil, &redoubt.Error{Op: "read block", Object: shards.SegmentName(sr, sg.Ordinal), Err: cause}
}
