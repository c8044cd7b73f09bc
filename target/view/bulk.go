package view

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/slab"
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

// stretches sorts the data pieces by segment and block, which is the order of the
// logs, and joins neighbours.
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
	slices.SortFunc(order, func(a, b segmentKey) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.ordinal, b.ordinal))
	})
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

// fetch reads and inflates the stretch's blocks and gives each to use, which must
// not keep it. If that fails and the segment was thinned meanwhile, they are read
// again from what is left, and given again.
func (r *Reader) fetch(ctx context.Context, st *stretch, use func(i int, raw []byte) error) error {
	for {
		err := r.fetchOf(ctx, st, use)
		if err == nil || !r.o.Shards.Outdated(ctx, st.sr, &st.sg) {
			return err
		}
		sg, d, nerr := r.o.Shards.SegmentHead(ctx, st.sr, st.sg.Ordinal)
		if nerr != nil || hasBlock(st.sr, &sg, d, st.blocks[len(st.blocks)-1]) != nil {
			return err
		}
		st = &stretch{sr: st.sr, sg: sg, head: d, blocks: st.blocks}
	}
}

func (r *Reader) fetchOf(ctx context.Context, st *stretch, use func(i int, raw []byte) error) error {
	off, n := st.span()
	b, err := r.o.Shards.ReadPart(ctx, st.sr, &st.sg, off, n, nil)
	if err != nil {
		return err
	}
	defer b.Free()
	var dst []byte // of blocks that are not stored as they are
	defer func() { slab.Put(dst) }()
	for i, k := range st.blocks {
		ref := st.head.Blocks()[k]
		if ref.Codec != ship.CodecNone && cap(dst) < int(ref.RawLen) && ref.RawLen <= ship.MaxBlock {
			slab.Put(dst)
			dst = slab.Get(int(ref.RawLen))
		}
		raw, err := ship.InflateBlock(ref, b.Data[ref.Off-off:][:ref.Len], dst)
		if errors.Is(err, redoubt.ErrCorrupt) {
			raw, err = r.blockWithout(ctx, st.sr, &st.sg, ref, err)
		}
		if err == nil {
			err = use(i, raw)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// load is a range of a disk on its way into memory, past the cache.
type load struct {
	redoubt.Extent
	p    []byte
	done chan struct{} // closed when nobody writes into p any more

	mu   sync.Mutex
	left int // pieces that are not there yet, and one while they are looked up
	err  error
}

func newLoad(e redoubt.Extent, p []byte) *load {
	return &load{Extent: e, p: p, left: 1, done: make(chan struct{})}
}

// finish says that one piece is there, or why it will not be; the first error counts.
func (l *load) finish(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	if l.left--; l.left == 0 {
		close(l.done)
	}
}

func (l *load) add() {
	l.mu.Lock()
	l.left++
	l.mu.Unlock()
}

// want is a piece of a load that lies in a block.
type want struct {
	*load
	q *index.Piece
}

// loads looks up what all of ls need, and calls start for each fetch that they take,
// in the order of the logs. start must have the function called, beside it or at
// once; it returns an error to go no further. After loads returned nothing is
// added to ls: each is done when its fetches are.
func (v *View) loads(ctx context.Context, d redoubt.DiskID, ls []*load, start func(fetch func(context.Context)) error) {
	wants := map[blockKey][]want{}
	var all []index.Piece
	var err error
	for _, l := range ls {
		var pieces []index.Piece
		if err == nil && l.err == nil {
			pieces, err = v.prefix.Lookup(ctx, d, l.Extent)
		}
		for i := range pieces {
			q := &pieces[i]
			if q.Kind != index.Data {
				clear(l.p[q.Extent.Off-l.Off:][:q.Extent.Len])
				continue
			}
			k := blockKey{segmentKey{v.series[q.Ref.Epoch], q.Ref.Ordinal}, q.Ref.Block}
			wants[k] = append(wants[k], want{l, q})
			l.add()
		}
		all = append(all, pieces...)
	}
	var sts []*stretch
	if err == nil {
		sts, err = v.stretches(ctx, all)
	}
	of := func(st *stretch, b uint32) []want {
		return wants[blockKey{segmentKey{st.sr, st.sg.Ordinal}, b}]
	}
	finish := func(st *stretch, err error) {
		for _, b := range st.blocks {
			for _, w := range of(st, b) {
				w.finish(err)
			}
		}
	}
	if err != nil { // what there is of wants has no fetch
		for _, ws := range wants {
			for _, w := range ws {
				w.finish(err)
			}
		}
	}
	for _, st := range sts {
		if err == nil {
			err = start(func(ctx context.Context) {
				ferr := v.r.fetch(ctx, st, func(i int, raw []byte) error {
					b := rawBlock{data: raw, checked: map[uint64]bool{}}
					for _, w := range of(st, st.blocks[i]) {
						if err := b.copyPiece(w.q, w.p[w.q.Extent.Off-w.Off:][:w.q.Extent.Len]); err != nil {
							return err
						}
					}
					return nil
				})
				finish(st, ferr)
			})
		}
		if err != nil {
			finish(st, err)
		}
	}
	for _, l := range ls {
		l.finish(err)
	}
}

// readBulk fills p like ReadAt, with few large fetches and without the cache.
func (v *View) readBulk(ctx context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	l := newLoad(redoubt.Extent{Off: off, Len: uint64(len(p))}, p)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelStretches)
	v.loads(gctx, d, []*load{l}, func(fetch func(context.Context)) error {
		g.Go(func() error {
			fetch(gctx)
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.err // the others need not be fetched
		})
		return nil
	})
	_ = g.Wait() // the load knows
	return l.err
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
	done := 0
	err := r.fetch(ctx, missing, func(i int, raw []byte) error {
		if i < done {
			return nil // given again
		}
		b := &rawBlock{data: bytes.Clone(raw), checked: map[uint64]bool{}}
		land[i](b, int64(len(b.data))+256, nil)
		done++
		return nil
	})
	for _, f := range land[done:] {
		f(nil, 0, err)
	}
}
