package blockdev

import (
	"slices"
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// piece is content of a range of a disk: data, or zeros if data is nil.
type piece struct {
	off, end uint64
	data     []byte
	punch    bool // zeros whose space may be given back
}

// cut returns the part of p inside [off, end), which must overlap it.
func (p piece) cut(off, end uint64) piece {
	off, end = max(off, p.off), min(end, p.end)
	if p.data != nil {
		p.data = p.data[off-p.off : end-p.off]
	}
	p.off, p.end = off, end
	return p
}

// leafMax is the number of pieces at which a leaf is split. 64 pieces are 3 KiB:
// a move inside a leaf stays within the first-level cache.
const leafMax = 64

// intervals maps the bytes of a disk to the newest pieces put over them. It is
// a sorted sequence of leaves of sorted pieces that do not overlap: two binary
// searches find a piece, an insertion moves at most one leaf's pieces, and one
// in leafMax/2 insertions moves the list of leaves. It is not safe for
// concurrent use.
type intervals struct {
	leaves [][]piece // none is empty
	n      int
}

// seek returns the place of the first piece that ends after off.
func (m *intervals) seek(off uint64) (l, i int) {
	l = sort.Search(len(m.leaves), func(k int) bool {
		lf := m.leaves[k]
		return lf[len(lf)-1].end > off
	})
	if l < len(m.leaves) {
		lf := m.leaves[l]
		i = sort.Search(len(lf), func(k int) bool { return lf[k].end > off })
	}
	return l, i
}

// put lays q over what is there.
func (m *intervals) put(q piece) {
	l, i := m.seek(q.off)
	if l == len(m.leaves) {
		m.insert(l, 0, q)
		return
	}
	first := &m.leaves[l][i]
	if first.off == q.off && first.end == q.end { // the same block again
		*first = q
		return
	}
	if first.off < q.off {
		right := *first
		first.cutInPlace(first.off, q.off)
		if right.end > q.end { // q lies inside: the old piece becomes two
			m.insert(l, i+1, q)
			l, i = m.seek(q.end)
			m.insert(l, i, right.cut(q.end, right.end))
			return
		}
		i++
	}
	m.removeCovered(l, i, q.end)
	l, i = m.seek(q.off)
	if l < len(m.leaves) {
		if next := &m.leaves[l][i]; next.off < q.end {
			next.cutInPlace(q.end, next.end)
		}
	}
	m.insert(l, i, q)
}

func (p *piece) cutInPlace(off, end uint64) { *p = p.cut(off, end) }

// removeCovered drops the pieces from (l, i) on that end at or before end.
func (m *intervals) removeCovered(l, i int, end uint64) {
	empty := l // first leaf of a run of leaves to drop
	if i > 0 {
		empty = l + 1
	}
	k := l
	for ; k < len(m.leaves); k++ {
		lf := m.leaves[k]
		j := i
		for j < len(lf) && lf[j].end <= end {
			j++
		}
		m.n -= j - i
		if j < len(lf) {
			m.leaves[k] = slices.Delete(lf, i, j)
			break
		}
		if i > 0 {
			m.leaves[k] = slices.Delete(lf, i, j)
		}
		i = 0
	}
	if k > empty {
		m.leaves = slices.Delete(m.leaves, empty, k)
	}
}

// insert puts q before the piece at (l, i).
func (m *intervals) insert(l, i int, q piece) {
	m.n++
	if l == len(m.leaves) {
		if l == 0 {
			m.leaves = append(m.leaves, append(make([]piece, 0, leafMax), q))
			return
		}
		l--
		i = len(m.leaves[l])
	}
	lf := slices.Insert(m.leaves[l], i, q)
	if len(lf) < leafMax {
		m.leaves[l] = lf
		return
	}
	// Rising offsets are common; then a full left leaf wastes nothing.
	half := len(lf) / 2
	if i == len(lf)-1 && l == len(m.leaves)-1 {
		half = len(lf) - 1
	}
	right := append(make([]piece, 0, leafMax), lf[half:]...)
	clear(lf[half:])
	m.leaves[l] = lf[:half]
	m.leaves = slices.Insert(m.leaves, l+1, right)
}

// walk calls fn for the parts of pieces inside e, in order, until fn reports false.
func (m *intervals) walk(e redoubt.Extent, fn func(piece) bool) {
	if m == nil || m.n == 0 {
		return
	}
	for l, i := m.seek(e.Off); l < len(m.leaves); l, i = l+1, 0 {
		for _, p := range m.leaves[l][i:] {
			if p.off >= e.End() || !fn(p.cut(e.Off, e.End())) {
				return
			}
		}
	}
}

// fill copies what m has of e into p, which lies at off, and appends the ranges
// of e that m does not have to gaps.
func (m *intervals) fill(p []byte, off uint64, e redoubt.Extent, gaps []redoubt.Extent) []redoubt.Extent {
	at := e.Off
	m.walk(e, func(q piece) bool {
		if at < q.off {
			gaps = append(gaps, redoubt.Extent{Off: at, Len: q.off - at})
		}
		if dst := p[q.off-off : q.end-off]; q.data != nil {
			copy(dst, q.data)
		} else {
			clear(dst)
		}
		at = q.end
		return true
	})
	if at < e.End() {
		gaps = append(gaps, redoubt.Extent{Off: at, Len: e.End() - at})
	}
	return gaps
}

// empty reports whether nothing was put, or everything dropped.
func (m *intervals) empty() bool { return m == nil || m.n == 0 }
