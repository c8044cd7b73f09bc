package histogram

import "math"

// Bucket is how many values were at most Upper and above the bucket before.
type Bucket struct{ Upper, Count uint64 }

// Snapshot is what a Histogram had counted. Empty buckets are left out; the
// others follow by Upper.
type Snapshot struct {
	Sum     uint64
	Buckets []Bucket
}

// Count returns the number of values.
func (s Snapshot) Count() uint64 {
	var n uint64
	for _, b := range s.Buckets {
		n += b.Count
	}
	return n
}

// Upto returns the number of values that are at most v. It is exact if v is
// the upper bound of a bucket, as all 2^k-1 are.
func (s Snapshot) Upto(v uint64) uint64 {
	var n uint64
	for _, b := range s.Buckets {
		if b.Upper > v {
			break
		}
		n += b.Count
	}
	return n
}

// Quantile returns a value that the share q, 0 to 1, of the values does not
// exceed: the upper bound of a bucket, so at most an eighth too much. ok is
// false if there are no values.
func (s Snapshot) Quantile(q float64) (v uint64, ok bool) {
	want := uint64(max(1, math.Ceil(q*float64(s.Count()))))
	for _, b := range s.Buckets {
		v, ok = b.Upper, true
		if b.Count >= want {
			break
		}
		want -= b.Count
	}
	return v, ok
}

// Since returns what was counted after old, an earlier snapshot of the same
// histogram. ok is false if it is not: something counts less now.
func (s Snapshot) Since(old Snapshot) (d Snapshot, ok bool) {
	if s.Sum < old.Sum {
		return Snapshot{}, false
	}
	d.Sum = s.Sum - old.Sum
	was := old.Buckets
	for _, b := range s.Buckets {
		if len(was) > 0 && was[0].Upper == b.Upper {
			if was[0].Count > b.Count {
				return Snapshot{}, false
			}
			b.Count -= was[0].Count
			was = was[1:]
		}
		if b.Count > 0 {
			d.Buckets = append(d.Buckets, b)
		}
	}
	return d, len(was) == 0
}
