package segment

import (
	"cmp"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// stretch says that of a series' epoch the ordinals lo to hi may lie in the
// files first to last.
type stretch struct{ lo, hi, first, last uint64 }

// stretchBytes is what one takes in memory, with its part of the search tree.
const stretchBytes = 40

// stretches are those of one epoch, sorted by lo. top[m], with m in the middle
// of a part of the list, is the largest hi in that part.
type stretches struct {
	all []stretch
	top []uint64
}

type epochKey struct {
	series uint32
	epoch  redoubt.Epoch
}

// ranges finds the files that may hold a record. It keeps at most `most`
// stretches, or one for every epoch: above that it joins neighbours, so that
// more files have to be asked. The Log's mutex guards it.
type ranges struct {
	by    map[epochKey]*stretches
	n     int
	most  int
	grain uint // stretches within 2^grain files may have been joined
}

func newRanges(maxBytes int64) ranges {
	return ranges{by: map[epochKey]*stretches{}, most: int(maxBytes / stretchBytes)}
}

// add enters what a file holds. settle must follow before the next search.
func (r *ranges) add(k epochKey, lo, hi, file uint64) {
	s := r.by[k]
	if s == nil {
		s = &stretches{}
		r.by[k] = s
	}
	s.all = append(s.all, stretch{lo, hi, file, file})
	s.top = nil
	r.n++
}

// settle sorts what was added, and joins as much as the bound asks for.
func (r *ranges) settle() {
	for r.n > r.most && r.n > len(r.by) {
		r.grain++
		r.join()
	}
	for _, s := range r.by {
		if s.top == nil {
			slices.SortFunc(s.all, func(a, b stretch) int { return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(a.first, b.first)) })
			s.top = make([]uint64, len(s.all))
			s.climb(0, len(s.all))
		}
	}
}

// climb computes top for all[from:to] and returns the largest hi in it.
func (s *stretches) climb(from, to int) uint64 {
	if from >= to {
		return 0
	}
	m := (from + to) / 2
	s.top[m] = max(s.all[m].hi, s.climb(from, m), s.climb(m+1, to))
	return s.top[m]
}

// join makes one of neighbours whose files and ordinals are close.
func (r *ranges) join() {
	near := uint64(1) << min(2*r.grain, 63)
	if r.grain > 31 {
		near = ^uint64(0)
	}
	r.n = 0
	for _, s := range r.by {
		slices.SortFunc(s.all, func(a, b stretch) int {
			return cmp.Or(cmp.Compare(a.first>>r.grain, b.first>>r.grain), cmp.Compare(a.lo, b.lo))
		})
		out := s.all[:1]
		for _, b := range s.all[1:] {
			a := &out[len(out)-1]
			if a.first>>r.grain == b.first>>r.grain && (b.lo <= a.hi || b.lo-a.hi <= near) {
				*a = stretch{a.lo, max(a.hi, b.hi), min(a.first, b.first), max(a.last, b.last)}
			} else {
				out = append(out, b)
			}
		}
		s.all, s.top = slices.Clip(out), nil
		r.n += len(out)
	}
}

// purge drops the stretches of files that are gone.
func (r *ranges) purge(there func(first, last uint64) bool) {
	r.n = 0
	for k, s := range r.by {
		s.all = slices.Clip(slices.DeleteFunc(s.all, func(a stretch) bool { return !there(a.first, a.last) }))
		s.top = nil
		if r.n += len(s.all); len(s.all) == 0 {
			delete(r.by, k)
		}
	}
	r.settle()
}

// find calls fn with the files that may hold the ordinal, in no order; one may
// come twice.
func (r *ranges) find(k epochKey, ordinal uint64, fn func(first, last uint64)) {
	if s := r.by[k]; s != nil {
		s.find(0, len(s.all), ordinal, fn)
	}
}

func (s *stretches) find(from, to int, ordinal uint64, fn func(first, last uint64)) {
	for from < to {
		m := (from + to) / 2
		if s.top[m] < ordinal {
			return
		}
		s.find(from, m, ordinal, fn)
		if s.all[m].lo > ordinal {
			return
		}
		if s.all[m].hi >= ordinal {
			fn(s.all[m].first, s.all[m].last)
		}
		from = m + 1
	}
}
