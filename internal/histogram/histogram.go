// Package histogram counts values, such as latencies in nanoseconds or the
// sizes of batches, in fixed buckets: eight to each power of two, so that a
// value is known to an eighth. Observing takes two atomic additions and neither
// allocates nor locks.
package histogram

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	perOctave = 8
	maxBits   = 36 // larger values, beyond 68 s in nanoseconds, count as the largest
	buckets   = (maxBits - 2) * perOctave
)

// Histogram counts values. The zero value is empty. All methods may be called
// concurrently.
type Histogram struct {
	sum    atomic.Uint64
	counts [buckets]atomic.Uint64
}

// Observe counts n values of v.
func (h *Histogram) Observe(v, n uint64) {
	h.counts[bucket(v)].Add(n)
	h.sum.Add(v * n)
}

// Time counts n values of d in nanoseconds; a negative d counts as 0.
func (h *Histogram) Time(d time.Duration, n uint64) { h.Observe(uint64(max(0, d)), n) }

// Snapshot returns what was counted. What is being observed meanwhile may be in
// the sum and not in the buckets, or the other way round.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: h.sum.Load()}
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			s.Buckets = append(s.Buckets, Bucket{Upper: upper(i), Count: n})
		}
	}
	return s
}

// bucket returns where v is counted. The first eight buckets hold one value each.
func bucket(v uint64) int {
	v = min(v, 1<<maxBits-1)
	if v < perOctave {
		return int(v)
	}
	e := bits.Len64(v) - 4
	return (e+1)*perOctave + int(v>>e)&(perOctave-1)
}

// upper returns the largest value of bucket i.
func upper(i int) uint64 {
	if i < perOctave {
		return uint64(i)
	}
	e := i/perOctave - 1
	return uint64(perOctave+i%perOctave+1)<<e - 1
}
