// Package slab recycles large buffers: frames, shards, blocks on their way to a
// disk or a peer. Making each anew costs clearing it, page faults, and a
// collection of garbage every few megabytes.
package slab

import (
	"math/bits"
	"sync"
)

// Bounds of what is recycled, in bytes. Smaller buffers are cheap, larger ones
// are rare.
const (
	Min = 32 << 10
	Max = 40 << 20
)

// Classes are four to a doubling, so that at most a fifth of a buffer is not used.
const (
	minShift = 15
	classes  = 4*11 + 1
)

// free is what nobody uses, by class, for the whole process. The collector
// empties it in two cycles, so it holds no more than what was in use at once
// shortly before. How much that may be, those say who take: a window of deltas,
// Options.PendingBytes, the calls of a connection.
var free [classes]sync.Pool

// Get returns n bytes with any content. They are the caller's until Put; who
// never calls that leaves them to the collector of garbage.
func Get(n int) []byte {
	c, size := class(n)
	if c < 0 {
		return make([]byte, n)
	}
	if b, ok := free[c].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return make([]byte, n, size)
}

// Put gives back what Get returned; nobody may use b, or a part of it, any more.
func Put(b []byte) {
	b = b[:cap(b)]
	if c, size := class(len(b)); c >= 0 && size == len(b) {
		free[c].Put(&b)
	}
}

// class returns the smallest class whose buffers hold n bytes, and their size;
// -1 if such buffers are not recycled.
func class(n int) (c, size int) {
	if n < Min || n > Max {
		return -1, 0
	}
	// size is (4+quarter) << (shift-2), at least n.
	shift := bits.Len(uint(n-1)) - 1 // 2^shift < n, or n is 2^(shift+1)
	shift = max(shift, minShift-1)
	quarter := 1 << (shift - 2)
	size = (n + quarter - 1) / quarter * quarter
	return 4*(shift-minShift+1) + size/quarter - 5, size
}
