package histogram

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// Each value lies in its bucket, the buckets leave no gap, and none is wider
// than an eighth of its values.
func TestBuckets(t *testing.T) {
	for i := range buckets {
		lower := uint64(0)
		if i > 0 {
			lower = upper(i-1) + 1
		}
		if bucket(lower) != i || bucket(upper(i)) != i {
			t.Fatalf("bucket %d: %d is in %d, %d in %d", i, lower, bucket(lower), upper(i), bucket(upper(i)))
		}
		if width := upper(i) - lower + 1; width > 1 && width*perOctave > lower {
			t.Fatalf("bucket %d: %d to %d is too wide", i, lower, upper(i))
		}
	}
	if last := bucket(1<<63 + 5); last != buckets-1 {
		t.Fatalf("the largest value is in %d of %d", last, buckets)
	}
}

func TestQuantiles(t *testing.T) {
	rng := seeded.Rand(t)
	var h Histogram
	var all []uint64
	for range 5000 {
		v := rng.Uint64() >> (28 + rng.IntN(30))
		all = append(all, v)
		h.Observe(v, 1)
	}
	slices.Sort(all)
	s := h.Snapshot()
	for _, q := range []float64{0.01, 0.5, 0.99, 1} {
		want := all[max(1, int(q*float64(len(all))+0.999999))-1]
		got, ok := s.Quantile(q)
		if !ok || got < want || float64(got) > float64(want)*1.125 {
			t.Errorf("quantile %g is %d, the value is %d", q, got, want)
		}
	}
	if s.Count() != 5000 || s.Upto(1<<maxBits-1) != 5000 {
		t.Errorf("%d values, %d below the end", s.Count(), s.Upto(1<<maxBits-1))
	}
	if _, ok := (Snapshot{}).Quantile(0.5); ok {
		t.Error("a quantile of nothing")
	}
}

func TestSince(t *testing.T) {
	var h Histogram
	h.Observe(100, 3)
	h.Time(-time.Second, 1)
	old := h.Snapshot()
	h.Observe(100, 2)
	h.Observe(9, 1)
	d, ok := h.Snapshot().Since(old)
	if !ok || d.Sum != 209 || d.Count() != 3 || d.Upto(15) != 1 {
		t.Errorf("%+v, %v", d, ok)
	}
	if _, ok := old.Since(h.Snapshot()); ok {
		t.Error("the past came after the present")
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Time(time.Millisecond, 2) }); n != 0 {
		t.Errorf("%g allocations", n)
	}
}
