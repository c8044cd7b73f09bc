package view

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

const (
	// stretchMax is how many encoded bytes one fetch brings at most. It is below
	// what makes a node wait long, and far above the cost of a call.
	stretchMax = 1 << 20
	// stretchGap is how many bytes that nobody wants are read to save a fetch.
	stretchGap = 32 << 10
	// parallelStretches is how many fetches of one bulk read are under way.
	parallelStretches = 8
)

// stretch is neighbouring blocks of one segment that are fetched as one range.
type stretch struct {
	sr     index.Series
	sg     catalog.Segment
	head   *ship.Delta
	blocks []uint32 // rising
}

func (st *stretch) span() (off, n uint32) {
	refs := st.head.Blocks()
	first, last := refs[st.blocks[0]], refs[st.blocks[len(st.blocks)-1]]
	return first.Off, last.Off + last.Len - first.Off
}

// stretches sorts the data pieces by segment and block, and joins neighbours.
func (v *View) stretches(ctx context.Context, pieces []index.Piece) ([]*stretch, error) {
	wanted := map[segmentKey][]uint32{}
	var order []segmentKey
	for i := range pieces {
		q := &pieces[i]
		if q.Kind != index.Data {
			continue
		}
		k := segmentKey{v.series[q.Ref.Epoch], q.Ref.Ordinal}
		if wanted[k] == nil {
			order = append(order, k)
		}
		wanted[k] = append(wanted[k], q.Ref.Block)
	}
	var out []*stretch
	for _, k := range order {
		sg, d, err := v.r.o.Shards.SegmentHead(ctx, k.Series, k.ordinal)
		if err != nil {
			return nil, err
		}
		blocks := wanted[k]
		slices.Sort(blocks)
		if err := hasBlock(k.Series, &sg, d, blocks[len(blocks)-1]); err != nil {
			return nil, err
		}
		out = append(out, joined(k.Series, sg, d, slices.Compact(blocks))...)
	}
	return out, nil
}

// joined makes stretches of blocks of one segment, which rise.
func joined(sr index.Series, sg catalog.Segment, d *ship.Delta, blocks []uint32) (out []*stretch) {
	var cur *stretch
	for _, b := range blocks {
		if cur == nil || !cur.takes(b) {
			cur = &stretch{sr: sr, sg: sg, head: d}
			out = append(out, cur)
		}
		cur.blocks = append(cur.blocks, b)
	}
	return out
}

// takes reports whether block b may join the stretch.
func (st *stretch) takes(b uint32) bool {
	off, n := st.span()
	ref := st.head.Blocks()[b]
	return ref.Off-(off+n) <= stretchGap && ref.Off+ref.Len-off <= stretchMax
}

// hasBlock refuses a block that a segment has not. d is nil if nothing is left of it.
func hasBlock(sr index.Series, sg *catalog.Segment, d *ship.Delta, b uint32) error {
	n := 0
	if d != nil {
		n = len(d.Blocks())
	}
	if int(b) < n {
		return nil
	}
	return &redoubt.Error{Op: "read block", Object: shards.SegmentName(sr, sg.Ordinal), Err: fmt.Errorf("block %d of %d: %w", b, n, redoubt.ErrCorrupt)}
}

// fetch reads and inflates the stretch's blocks. If that fails and the segment
// was thinned meanwhile, they are read again from what is left.
func (r *Reader) fetch(ctx context.Context, st *stretch) ([]*rawBlock, error) {
	for {
		out, err := r.fetchOf(ctx, st)
		if err == nil || !r.o.Shards.Outdated(ctx, st.sr, &st.sg) {
			return out, err
		}
		sg, d, nerr := r.o.Shards.SegmentHead(ctx, st.sr, st.sg.Ordinal)
		if nerr != nil || hasBlock(st.sr, &sg, d, st.blocks[len(st.blocks)-1]) != nil {
			return nil, err
		}
		st = &stretch{sr: st.sr, sg: sg, head: d, blocks: st.blocks}
	}
}

func (r *Reader) fetchOf(ctx context.Context, st *stretch) ([]*rawBlock, error) {
	off, n := st.span()
	b, err := r.o.Shards.ReadRange(ctx, st.sr, &st.sg, off, n, nil)
	if err != nil {
		return nil, err
	}
	out := make([]*rawBlock, len(st.blocks))
	for i, k := range st.blocks {
		ref := st.head.Blocks()[k]
		raw, err := ship.InflateBlock(ref, b[ref.Off-off:][:ref.Len], nil)
		if errors.Is(err, redoubt.ErrCorrupt) {
			raw, err = r.blockWithout(ctx, st.sr, &st.sg, ref, err)
		}
		if err != nil {
			return nil, err
		}
		out[i] = &rawBlock{data: raw, checked: map[uint64]bool{}}
	}
	return out, nil
}

// ReadThrough is ReadAt with few large fetches and past the cache: for those
// who read everything once.
func (v *View) ReadThrough(d redoubt.DiskID, p []byte, off uint64) error {
	disk, err := v.within(d, redoubt.Extent{Off: off, Len: uint64(len(p))})
	if err != nil {
		return err
	}
	ctx, cancel, err := v.begin()
	if err != nil {
		return err
	}
	defer cancel()
	if err := v.readBulk(ctx, d, p, off); err != nil {
		return &redoubt.Error{Op: "read point " + v.pos.String() + " disk", Object: disk.Name, Err: err}
	}
	return nil
}

// readBulk fills p like ReadAt, with few large fetches and without the cache.
func (v *View) readBulk(ctx context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	pieces, err := v.prefix.Lookup(ctx, d, redoubt.Extent{Off: off, Len: uint64(len(p))})
	if err != nil {
		return err
	}
	all, err := v.stretches(ctx, pieces)
	if err != nil {
		return err
	}
	where := map[blockKey]*rawBlock{}
	got := make([][]*rawBlock, len(all))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelStretches)
	for i, st := range all {
		g.Go(func() (err error) {
			got[i], err = v.r.fetch(gctx, st)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, st := range all {
		for j, b := range st.blocks {
			where[blockKey{segmentKey{st.sr, st.sg.Ordinal}, b}] = got[i][j]
		}
	}
	for i := range pieces {
		q := &pieces[i]
		if q.Kind != index.Data {
			clear(p[q.Extent.Off-off:][:q.Extent.Len])
			continue
		}
		b := where[blockKey{segmentKey{v.series[q.Ref.Epoch], q.Ref.Ordinal}, q.Ref.Block}]
		if err := b.copyPiece(q, p[q.Extent.Off-off:][:q.Extent.Len]); err != nil {
			return err
		}
	}
	return nil
}

// loadAhead brings the stretch's blocks that are not there yet into the cache.
// Nobody waits for it, so errors are dropped: a reader meets them itself.
func (r *Reader) loadAhead(ctx context.Context, st *stretch) {
	missing := &stretch{sr: st.sr, sg: st.sg, head: st.head}
	var land []func(*rawBlock, int64, error)
	for _, b := range st.blocks {
		if f := r.blocks.Ahead(blockKey{segmentKey{st.sr, st.sg.Ordinal}, b}); f != nil {
			missing.blocks, land = append(missing.blocks, b), append(land, f)
		}
	}
	if len(land) == 0 {
		return
	}
	got, err := r.fetch(ctx, missing)
	for i, f := range land {
		if err != nil {
			f(nil, 0, err)
			continue
		}
		b := got[i]
		if missing.head.Blocks()[missing.blocks[i]].Codec == ship.CodecNone {
			b.data = bytes.Clone(b.data) // or one block would keep the whole stretch in memory
		}
		f(b, int64(len(b.data))+256, nil)
	}
}
