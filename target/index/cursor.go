package index

import (
	"context"
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// cursor walks the entries of a run in order.
type cursor interface {
	// seek goes to the first entry of the disk that ends after off, or to the
	// first of a later disk.
	seek(ctx context.Context, d redoubt.DiskID, off uint64) error
	entry() *flat // nil at the end
	next(ctx context.Context) error
}

// memCursor walks a run in memory.
type memCursor struct {
	fs []flat
	i  int
}

func (c *memCursor) seek(_ context.Context, d redoubt.DiskID, off uint64) error {
	c.i = seekFlat(c.fs, d, off)
	return nil
}

func (c *memCursor) entry() *flat {
	if c.i < len(c.fs) {
		return &c.fs[c.i]
	}
	return nil
}

func (c *memCursor) next(context.Context) error {
	c.i++
	return nil
}

func seekFlat(fs []flat, d redoubt.DiskID, off uint64) int {
	return sort.Search(len(fs), func(i int) bool { return fs[i].disk > d || fs[i].disk == d && fs[i].end() > off })
}

// runCursor walks a stored run through its tree.
type runCursor struct {
	x    *Index
	r    *run
	path []step // inner blocks from the root down
	leaf []flat
	i    int
}

type step struct {
	inner []child
	i     int
}

func (c *runCursor) seek(ctx context.Context, d redoubt.DiskID, off uint64) error {
	c.path, c.leaf, c.i = c.path[:0], nil, 0
	if c.r.rootLen == 0 {
		return nil
	}
	b, err := c.x.block(c.r, c.r.rootAt, c.r.rootLen)
	if err != nil {
		return err
	}
	for b.inner != nil {
		// The last child that begins at or before the key holds the last entry
		// that does, which may reach beyond it.
		i := sort.Search(len(b.inner), func(i int) bool {
			k := &b.inner[i]
			return k.disk > d || k.disk == d && k.off > off
		})
		i = max(i-1, 0)
		c.path = append(c.path, step{b.inner, i})
		if b, err = c.x.block(c.r, b.inner[i].at, b.inner[i].len); err != nil {
			return err
		}
		if len(c.path) > 16 {
			return corrupt("tree too deep")
		}
	}
	c.leaf = b.leaf
	if c.i = seekFlat(c.leaf, d, off); c.i == len(c.leaf) {
		return c.nextLeaf(ctx)
	}
	return nil
}

func (c *runCursor) entry() *flat {
	if c.i < len(c.leaf) {
		return &c.leaf[c.i]
	}
	return nil
}

func (c *runCursor) next(ctx context.Context) error {
	if c.i++; c.i < len(c.leaf) {
		return nil
	}
	return c.nextLeaf(ctx)
}

func (c *runCursor) nextLeaf(ctx context.Context) error {
	c.leaf, c.i = nil, 0
	if err := ctx.Err(); err != nil {
		return err
	}
	n := len(c.path) - 1
	for n >= 0 && c.path[n].i+1 >= len(c.path[n].inner) {
		n--
	}
	if n < 0 {
		return nil
	}
	c.path[n].i++
	for level := n; ; level++ {
		k := c.path[level].inner[c.path[level].i]
		b, err := c.x.block(c.r, k.at, k.len)
		if err != nil {
			return err
		}
		if b.inner == nil {
			c.leaf = b.leaf
			return nil
		}
		if level+1 == len(c.path) {
			return corrupt("tree of uneven depth")
		}
		c.path[level+1] = step{b.inner, 0}
	}
}

// stream reads the run from its first block to its last without the cache:
// a merge visits each block once.
func (x *Index) stream(r *run) stream {
	const bufSize = 256 << 10
	var buf []byte
	at := uint64(sector)
	end := sector + r.bodyLen
	var leaf []flat
	return func() (flat, bool, error) {
		for len(leaf) == 0 {
			place := r.off + int64(at) - int64(len(buf))
			if len(buf) < maxBlock && at < end {
				b := make([]byte, min(bufSize, end-at)+uint64(len(buf)))
				n := copy(b, buf)
				if err := x.readAt(r.file, b[n:], r.off+int64(at)); err != nil {
					return flat{}, false, err
				}
				at += uint64(len(b) - n)
				buf = b
			}
			if len(buf) == 0 {
				return flat{}, false, nil
			}
			n, err := frameLen(buf)
			if err != nil {
				return flat{}, false, err
			}
			b, err := decodeBlock(buf[:n], r.file, place)
			if err != nil {
				return flat{}, false, err
			}
			buf, leaf = buf[n:], b.leaf
		}
		f := leaf[0]
		leaf = leaf[1:]
		return f, true, nil
	}
}
