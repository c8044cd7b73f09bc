package journal

import (
	"math"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/redoubt-dr/redoubt"
)

// DirtyBlock is the unit of a dirty map, in bytes. A disk of the largest size
// has as many blocks as a 32-bit number counts.
const DirtyBlock = 4 << 10

// blockMap is a set of blocks of each disk: a bit for each, packed by roaring
// bitmaps. It takes at most 32 MiB for a TiB of disk, and 2 bytes a block or
// less while few are dirty or they lie side by side.
type blockMap map[redoubt.DiskID]*roaring.Bitmap

// blocks returns the blocks that e touches: [from, to).
func blocks(e redoubt.Extent) (from, to uint64) {
	return e.Off / DirtyBlock, (e.End() + DirtyBlock - 1) / DirtyBlock
}

func (m blockMap) disk(d redoubt.DiskID) *roaring.Bitmap {
	b := m[d]
	if b == nil {
		b = roaring.New()
		m[d] = b
	}
	return b
}

func (m blockMap) add(d redoubt.DiskID, e redoubt.Extent) {
	if !e.Empty() && e.Within(redoubt.MaxDiskSize) {
		from, to := blocks(e)
		m.disk(d).AddRange(from, to)
	}
}

func (m blockMap) remove(d redoubt.DiskID, e redoubt.Extent) {
	if b := m[d]; b != nil && !e.Empty() {
		from, to := blocks(e)
		b.RemoveRange(from, to)
	}
}

// or adds all of n.
func (m blockMap) or(n blockMap) {
	for d, b := range n {
		m.disk(d).Or(b)
	}
}

// without returns the blocks of m that are not in n.
func (m blockMap) without(n blockMap) blockMap {
	out := blockMap{}
	for d, b := range m {
		if n[d] == nil {
			out[d] = b.Clone()
		} else {
			out[d] = roaring.AndNot(b, n[d])
		}
	}
	return out
}

func (m blockMap) clone() blockMap {
	out := blockMap{}
	out.or(m)
	return out
}

// count returns the number of blocks.
func (m blockMap) count() (n uint64) {
	for _, b := range m {
		n += b.GetCardinality()
	}
	return n
}

// covers reports whether every block that e touches is in the map.
func (m blockMap) covers(d redoubt.DiskID, e redoubt.Extent) bool {
	b := m[d]
	if b == nil || e.Empty() || !e.Within(redoubt.MaxDiskSize) {
		return false
	}
	from, to := blocks(e)
	if to-from == 1 {
		return b.Contains(uint32(from))
	}
	return b.CardinalityInRange(from, to) == to-from
}

// next returns the first run of dirty blocks at or after the byte from, at most
// `most` bytes long and not across a multiple of it.
func (m blockMap) next(d redoubt.DiskID, from, most uint64) (redoubt.Extent, bool) {
	b := m[d]
	if b == nil || from/DirtyBlock > math.MaxUint32 {
		return redoubt.Extent{}, false
	}
	it := b.Iterator()
	it.AdvanceIfNeeded(uint32(from / DirtyBlock))
	if !it.HasNext() {
		return redoubt.Extent{}, false
	}
	first := uint64(it.Next())
	end := first + 1
	limit := (first*DirtyBlock/most + 1) * most / DirtyBlock
	for end < limit && it.HasNext() && uint64(it.PeekNext()) == end {
		it.Next()
		end++
	}
	return redoubt.Extent{Off: first * DirtyBlock, Len: (end - first) * DirtyBlock}, true
}
