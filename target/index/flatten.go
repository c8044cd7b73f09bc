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
	idx := make([]int, 0, len(es))
	for i := range es {
		if e := &es[i]; e.LSN > from && e.LSN <= to && e.Extent.Len > 0 {
			idx = append(idx, i)
		}
	}
	slices.SortFunc(idx, func(a, b int) int {
		return cmp.Or(cmp.Compare(es[a].Disk, es[b].Disk), cmp.Compare(es[a].Extent.Off, es[b].Extent.Off), cmp.Compare(a, b))
	})
	var out []flat
	var active newestFirst
	emitted := -1 // entry of the last piece of out
	for i := 0; i < len(idx) || len(active.idx) > 0; {
		if len(active.idx) == 0 {
			active.es = es
			heap.Push(&active, idx[i])
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
		if i < len(idx) && es[idx[i]].Disk == disk && es[idx[i]].Extent.Off < next {
			next, more = es[idx[i]].Extent.Off, true
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
			heap.Push(&active, idx[i])
			i++
		}
	}
	return out
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
