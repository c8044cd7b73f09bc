package compare

import (
	"context"
	"time"
)

// Root computes the root hash of an image; nothing is compared.
func Root(ctx context.Context, im Image, now func() time.Time, progress func(done, all uint64)) (Record, error) {
	r := Record{At: im.Position(), Started: now().UnixNano(), Passes: 1}
	for _, d := range im.Disks() {
		r.Blocks += blocks(d.Size)
	}
	roots, h := NewRoots(), newHasher()
	done := uint64(0)
	for _, d := range im.Disks() {
		o := &opened{image: im, trees: map[uint64]*Tree{}}
		roots.Disk(d)
		all := chunks(d.Size)
		for from := uint64(0); from < all; from += WindowChunks {
			to := min(all, from+WindowChunks)
			if err := ctx.Err(); err != nil {
				return r, err
			}
			if err := o.each(ctx, h, d, from, to, func(c uint64, t *Tree) { roots.Chunk(c, t.Sum) }); err != nil {
				return r, err
			}
			done = min(r.Blocks, done+(to-from)*chunkLeafs)
			progress(done, r.Blocks)
		}
	}
	r.Root, r.Finished = roots.Sum(), now().UnixNano()
	return r, nil
}
