package compare

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// The three levels at which disks are hashed, in bytes. A chunk is a tree of
// fanOut nodes of fanOut leaves; what lies beyond the disk's end counts as zeros.
const (
	LeafSize  = 4 << 10
	nodeSize  = fanOut * LeafSize
	ChunkSize = fanOut * nodeSize

	fanOut     = 16
	chunkLeafs = fanOut * fanOut
)

// Sum is a SHA-256.
type Sum [sha256.Size]byte

// String returns the sum in hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// IsZero reports whether s was never computed.
func (s Sum) IsZero() bool { return s == Sum{} }

// What a hash is of, in its first byte, so that no data looks like sums.
const (
	ofLeaf byte = 0
	ofSums byte = 1
	ofDisk byte = 2
	ofAll  byte = 3
)

// Tree holds the sums of one chunk.
type Tree struct {
	Sum    Sum
	nodes  [fanOut]Sum
	leaves [chunkLeafs]Sum
}

// hasher computes trees one after the other. It is for one goroutine.
type hasher struct {
	zero Tree // of a chunk of zeros
	buf  []byte
}

func newHasher() *hasher {
	h := &hasher{buf: make([]byte, 0, 1+LeafSize)}
	h.zero.leaves[0] = h.sum(ofLeaf, make([]byte, LeafSize))
	for i := range h.zero.leaves {
		h.zero.leaves[i] = h.zero.leaves[0]
	}
	h.join(&h.zero)
	return h
}

// sum returns SHA-256 of kind and then p, which has at most LeafSize bytes.
func (h *hasher) sum(kind byte, p []byte) Sum {
	h.buf = append(append(h.buf[:0], kind), p...)
	return sha256.Sum256(h.buf)
}

// tree fills t with the sums of p: a chunk, or the shorter end of a disk.
func (h *hasher) tree(p []byte, t *Tree) {
	for i := range t.leaves {
		at := i * LeafSize
		switch {
		case at >= len(p):
			t.leaves[i] = h.zero.leaves[0]
		case at+LeafSize > len(p):
			var whole [LeafSize]byte
			copy(whole[:], p[at:])
			t.leaves[i] = h.leaf(whole[:])
		default:
			t.leaves[i] = h.leaf(p[at : at+LeafSize])
		}
	}
	h.join(t)
}

func (h *hasher) leaf(p []byte) Sum {
	if p[0] == 0 && bytes.Equal(p[:len(p)-1], p[1:]) {
		return h.zero.leaves[0]
	}
	return h.sum(ofLeaf, p)
}

// join computes the upper levels from the leaves.
func (h *hasher) join(t *Tree) {
	for i := range t.nodes {
		t.nodes[i] = h.over(t.leaves[i*fanOut : (i+1)*fanOut])
	}
	t.Sum = h.over(t.nodes[:])
}

func (h *hasher) over(sums []Sum) Sum {
	h.buf = append(h.buf[:0], ofSums)
	for i := range sums {
		h.buf = append(h.buf, sums[i][:]...)
	}
	return sha256.Sum256(h.buf)
}
