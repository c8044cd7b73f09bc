package index

// Gone returns the first of a series' ordinals in [from, to) of whose segment
// something is left, or to. What is gone is shown by no point that can be
// opened: its entries are covered by later ones at all of them. It is called
// with locks held, concurrently, and must not call the Index.
type Gone func(s Series, from, to uint64) uint64

// gone reports whether nothing is left of the ordinals [from, to).
func (x *Index) gone(s Series, from, to uint64) bool {
	return x.o.Gone != nil && x.o.Gone(s, from, to) == to
}

// due returns the first start at which a run of that size is missing that
// something is left of. x.mu is held.
func (x *Index) due(s Series, st *state, size uint64) uint64 {
	at := x.runs.gap(s, size, st.next[size])
	for x.o.Gone != nil && at+size <= st.count {
		left := x.o.Gone(s, at, st.count)
		if left < at+size {
			break
		}
		at = x.runs.gap(s, size, left&^(size-1))
	}
	return at
}

// skip returns where lookups go on that have found no run at lo: behind what is
// gone, or before, where the largest run begins that holds the next segment of
// which something is left. x.mu is held.
func (x *Index) skip(s Series, lo, hi uint64) uint64 {
	if x.o.Gone == nil {
		return lo
	}
	left := x.o.Gone(s, lo, hi)
	if left == hi || left == lo {
		return left
	}
	best := left
	for size := uint64(1) << x.o.FanBits; size <= hi-lo; size <<= x.o.FanBits {
		if at := left &^ (size - 1); at > lo && at+size <= hi && x.runs.get(runKey{s, at, size}).there() {
			best = at
		}
	}
	return best
}

// leftOf returns a function that reports whether something is left of a
// segment of the series. It remembers the last answer: neighbours in a run are
// often of one segment.
func (x *Index) leftOf(s Series) func(ordinal uint64) bool {
	if x.o.Gone == nil {
		return func(uint64) bool { return true }
	}
	last, is, known := uint64(0), false, false
	return func(ordinal uint64) bool {
		if !known || ordinal != last {
			last, is, known = ordinal, x.o.Gone(s, ordinal, ordinal+1) == ordinal, true
		}
		return is
	}
}
