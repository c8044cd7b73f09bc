package redoubt

import (
	"hash/crc32"
	"math/bits"
	"sync"
)

// ChecksumJoin returns the CRC32C of a followed by b, given the CRC32C of each
// and the length of b in bytes, without looking at their bytes. A wrong checksum of one
// part always gives a wrong result.
func ChecksumJoin(a, b uint32, lenB int64) uint32 {
	switch {
	case lenB <= 0:
		return a
	case a == 0:
		return b
	}
	return times(a, powerOf(uint64(lenB))) ^ b
}

// Polynomials over GF(2) modulo that of Castagnoli, in the reflected order of
// CRC32C: the highest bit is the coefficient of x^0.
const (
	polyOne = 1 << 31
	polyX8  = 1 << 23 // x^8: one byte further
)

// times multiplies a by b.
func times(a, b uint32) (p uint32) {
	for a != 0 {
		// The highest bit of a is its lowest power: b moves on to it step by step.
		if a&polyOne != 0 {
			p ^= b
		}
		a <<= 1
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return p
}

// squares returns x^(8*2^i) for each i.
var squares = sync.OnceValue(func() (s [63]uint32) {
	s[0] = polyX8
	for i := 1; i < len(s); i++ {
		s[i] = times(s[i-1], s[i-1])
	}
	return s
})

// powerOf returns x^(8n).
func powerOf(n uint64) uint32 {
	s := squares()
	p := uint32(polyOne)
	for ; n != 0; n &= n - 1 {
		p = times(p, s[bits.TrailingZeros64(n)])
	}
	return p
}
