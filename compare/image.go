package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
)

// opened is an image that a connection has open, with the trees that it has
// computed last: a client asks for details of what it has just asked for.
type opened struct {
	image Image
	at    redoubt.DiskID
	trees map[uint64]*Tree // of chunks of disk at; at most keptTrees
}

// keptTrees bounds the memory for trees: one is about 9 KiB.
const keptTrees = 2 * WindowChunks

// readAhead is how many chunks are read at once: it is what a View gives from
// one place at most.
const readAhead = 4

func (p *asked) open(a Ask) ([]byte, error) {
	if a.Slot < 0 || a.Slot >= slots || p.group != "" && p.group != a.Group {
		return nil, badFrame("slot %d of group %s", a.Slot, a.Group)
	}
	if err := redoubt.ValidName("group", string(a.Group)); err != nil {
		return nil, err
	}
	if old := p.slot[a.Slot]; old != nil {
		p.slot[a.Slot] = nil
		if err := old.image.Close(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(p.ctx, openTimeout)
	defer cancel()
	im, err := p.s.store.OpenImage(ctx, p.peer, a)
	if err != nil {
		return nil, err
	}
	p.group = a.Group
	p.slot[a.Slot] = &opened{image: im, trees: map[uint64]*Tree{}}
	return json.Marshal(Opened{At: im.Position(), Disks: im.Disks()})
}

// of returns the image in a slot, and the disk.
func (p *asked) of(slot uint8, d redoubt.DiskID) (*opened, redoubt.Disk, error) {
	if o := p.slot[slot]; o != nil {
		disks := o.image.Disks()
		if i := slices.IndexFunc(disks, func(k redoubt.Disk) bool { return k.ID == d }); i >= 0 {
			return o, disks[i], nil
		}
	}
	return nil, redoubt.Disk{}, &redoubt.Error{Op: "compare", Object: d.String(), Err: fmt.Errorf("no such disk is open: %w", redoubt.ErrNotFound)}
}

func (p *asked) sums(q sumsAsked) ([]byte, error) {
	o, disk, err := p.of(q.slot, q.disk)
	if err != nil {
		return nil, err
	}
	if n := chunks(disk.Size); q.first+uint64(q.count) > n {
		return nil, badFrame("chunks up to %d of %d", q.first+uint64(q.count), n)
	}
	out := make([]Sum, q.count)
	err = o.each(p.ctx, p.h, disk, q.first, q.first+uint64(q.count), func(c uint64, t *Tree) { out[c-q.first] = t.Sum })
	return appendRuns(nil, out, p.h.zero.Sum), err
}

func (p *asked) detail(slot uint8, d redoubt.DiskID, ws []want) ([]byte, error) {
	o, disk, err := p.of(slot, d)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, w := range ws {
		if w.chunk >= chunks(disk.Size) {
			return nil, badFrame("chunk %d of %d", w.chunk, chunks(disk.Size))
		}
		t := o.trees[w.chunk]
		if o.at != d || t == nil {
			if err := o.each(p.ctx, p.h, disk, w.chunk, w.chunk+1, func(_ uint64, got *Tree) { t = got }); err != nil {
				return nil, err
			}
		}
		out = answer(out, w, t)
	}
	return out, nil
}

// each calls fn with the trees of the chunks [from, to) in order. Those without
// data cost nothing.
func (o *opened) each(ctx context.Context, h *hasher, disk redoubt.Disk, from, to uint64, fn func(c uint64, t *Tree)) error {
	if o.at != disk.ID || len(o.trees)+int(to-from) > keptTrees {
		o.at, o.trees = disk.ID, map[uint64]*Tree{}
	}
	for c := from; c < to; {
		data := to
		e, ok, err := o.image.NextData(disk.ID, c*ChunkSize)
		if err != nil {
			return err
		}
		if ok {
			data = min(to, e.Off/ChunkSize)
		}
		for ; c < data; c++ {
			o.trees[c] = &h.zero
			fn(c, &h.zero)
		}
		if c == to {
			return nil
		}
		end := min(to, c+readAhead, max(c+1, (e.End()+ChunkSize-1)/ChunkSize))
		off := c * ChunkSize
		buf := make([]byte, min(end*ChunkSize, disk.Size)-off)
		if err := o.image.Read(ctx, disk.ID, buf, off); err != nil {
			return err
		}
		trees, err := plant(buf)
		if err != nil {
			return err
		}
		for _, t := range trees {
			o.trees[c] = t
			fn(c, t)
			c++
		}
	}
	return nil
}

// plant computes the trees of neighbouring chunks, on all processors.
func plant(buf []byte) ([]*Tree, error) {
	out := make([]*Tree, chunks(uint64(len(buf))))
	var g errgroup.Group
	for i := range out {
		g.Go(func() error {
			out[i] = new(Tree)
			newHasher().tree(buf[i*ChunkSize:min(len(buf), (i+1)*ChunkSize)], out[i])
			return nil
		})
	}
	return out, g.Wait()
}
