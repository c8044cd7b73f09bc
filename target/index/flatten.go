package index

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// flatten makes a run of the entries with from < LSN <= to: sorted, without
// overlaps, the later of two entries winning. es is in the order of the delta.
func flatten(es []Entry, ordinal uint64, from, to redoubt.LSN) []flat {
	keys := make([]flatKey, 0, len(es))
	for i := range es {
		if e := &es[i]; e.LSN > from && e.LSN <= to && e.Extent.Len > 0 {
			keys = append(keys, flatKey{e.Extent.Off, uint32(i), e.Disk})
		}
	}
	slices.SortFunc(keys, flatKey.compare)
	out := make([]flat, 0, len(keys))
	active := newestFirst{es: es}
	emitted := -1 // entry of the last piece of out
	for i := 0; i < len(keys) || len(active.idx) > 0; {
		if len(active.idx) == 0 {
			e := &es[keys[i].i]
			if i+1 == len(keys) || keys[i+1].disk != e.Disk || keys[i+1].off >= e.Extent.End() { // it overlaps nothing
				out = append(out, makeFlat(e, ordinal, e.Extent.Off, e.Extent.End()))
			} else {
				heap.Push(&active, int(keys[i].i))
			}
			i++
			continue
		}
		top := active.idx[0]
		disk, pos := es[top].Disk, es[top].Extent.Off
		if n := len(out); n > 0 && out[n-1].disk == disk {
			pos = max(pos, out[n-1].end())
		}
		if es[top].Extent.End() <= pos {
			heap.Pop(&active)
			continue
		}
		next := es[top].Extent.End()
		var more bool
		if i < len(keys) && keys[i].disk == disk && keys[i].off < next {
			next, more = keys[i].off, true
		}
		if next > pos {
			if n := len(out); emitted == top && n > 0 && out[n-1].end() == pos {
				out[n-1].len += next - pos
			} else {
				out = append(out, makeFlat(&es[top], ordinal, pos, next))
			}
			emitted = top
		}
		if more {
			heap.Push(&active, int(keys[i].i))
			i++
		}
	}
	return out
}

// flatKey is what entries are sorted by, apart from them: they are large.
type flatKey struct {
	off  uint64
	i    uint32 // place in the delta
	disk redoubt.DiskID
}

func (a flatKey) compare(b flatKey) int {
	switch { // not cmp.Or, which compares all of them each time
	case a.disk != b.disk:
		return cmp.Compare(a.disk, b.disk)
	case a.off != b.off:
		return cmp.Compare(a.off, b.off)
	}
	return cmp.Compare(a.i, b.i)
}

func makeFlat(e *Entry, ordinal uint64, from, to uint64) flat {
	f := flat{disk: e.Disk, off: e.Extent.Off, len: e.Extent.Len, zero: e.Zero}
	if !e.Zero {
		f.ordinal, f.block, f.blockOff, f.elen, f.crc = ordinal, e.Block, e.BlockOff, uint32(e.Extent.Len), e.CRC
	}
	return f.clip(from, to)
}

// newestFirst is a heap of the entries that cover the sweep's place.
type newestFirst struct {
	es  []Entry
	idx []int
}

func (h *newestFirst) Len() int           { return len(h.idx) }
func (h *newestFirst) Less(i, j int) bool { return h.idx[i] > h.idx[j] }
func (h *newestFirst) Swap(i, j int)      { h.idx[i], h.idx[j] = h.idx[j], h.idx[i] }
func (h *newestFirst) Push(x any)         { h.idx = append(h.idx, x.(int)) }
func (h *newestFirst) Pop() any {
	n := len(h.idx) - 1
	x := h.idx[n]
	h.idx = h.idx[:n]
	return x
}
