package compare

import (
	"context"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// again looks at the blocks that were put off, until none is left or they have
// been looked at often enough: a block that is written to without a pause is
// never seen at rest.
func (v *verification) again(ctx context.Context) error {
	for range laterPasses {
		if v.kept == 0 {
			return nil
		}
		v.rec.Passes++
		for _, d := range v.base.Disks {
			if err := v.pass(ctx, d); err != nil {
				return err
			}
		}
	}
	for _, chunks := range v.later {
		for _, m := range chunks {
			v.rec.Unsettled += m.Count()
		}
	}
	return nil
}

func (v *verification) pass(ctx context.Context, d redoubt.Disk) error {
	mine := v.later[d.ID]
	order := slices.Sorted(maps.Keys(mine))
	for some := range slices.Chunk(order, WindowChunks) {
		var todo []Suspect
		for _, c := range some {
			todo = append(todo, Suspect{Chunk: c, Mask: mine[c]})
			delete(mine, c)
			v.kept--
		}
		left, err := v.settle(ctx, d, todo, attempts)
		if err != nil {
			return err
		}
		for _, s := range left {
			mine[s.Chunk] = s.Mask
			v.kept++
		}
	}
	return nil
}

// stirred says which chunks of a disk were written to: one bit each, 2 MiB for
// the largest disk.
type stirred struct {
	bits []uint64
	size uint64 // of the disk when the comparison began
}

func newStirred(size uint64) *stirred {
	return &stirred{make([]uint64, (chunks(size)+63)/64), size}
}

// add notes a write. What lies behind the size is in no comparison: the disk has grown since.
func (s *stirred) add(e redoubt.Extent) {
	for c := e.Off / ChunkSize; c*ChunkSize < min(e.End(), s.size); c++ {
		s.bits[c/64] |= 1 << (c % 64)
	}
}

func (s *stirred) has(c uint64) bool { return s.bits[c/64]&(1<<(c%64)) != 0 }
