package compare

import "math/bits"

// Mask says for each leaf of a chunk whether it is meant.
type Mask [chunkLeafs / 64]uint64

// Set means leaf i.
func (m *Mask) Set(i int) { m[i/64] |= 1 << (i % 64) }

// Has reports whether leaf i is meant.
func (m *Mask) Has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }

// node reports whether any leaf of node n is meant.
func (m *Mask) node(n int) bool { return m[n/4]>>(n%4*fanOut)&(1<<fanOut-1) != 0 }

// Empty reports whether no leaf is meant.
func (m *Mask) Empty() bool { return *m == Mask{} }

// Count is the number of leaves that are meant.
func (m *Mask) Count() (n uint64) {
	for _, v := range m {
		n += uint64(bits.OnesCount64(v))
	}
	return n
}

// setRange means the leaves that overlap [from, to), bytes within the chunk.
func (m *Mask) setRange(from, to uint64) {
	for l := from / LeafSize; l < (to+LeafSize-1)/LeafSize; l++ {
		m.Set(int(l))
	}
}

// first means the first n leaves.
func (m *Mask) first(n int) {
	for i := range n {
		m.Set(i)
	}
}

// Suspect is a chunk whose leaves in Mask may differ from those of Tree.
type Suspect struct {
	Chunk uint64
	Mask  Mask
	Tree  *Tree
}
