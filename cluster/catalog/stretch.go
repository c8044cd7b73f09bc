package catalog

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Segments of which nothing is left stay in the history, because ordinals count
// them; but neighbours of that kind are joined, so that they take no memory and
// no snapshot however long ago writing began. The first of them stands for the
// LSNs and the time of all, the others for none: they begin behind their end.
//
//	ordinals   7        8         9        10
//	before     [41,50]  [51,55]g  [56,70]g [71,75]
//	joined     [41,50]  [51,70]g  [71,70]g [71,75]
//
// Lookups by LSN and by time find the first. What lies between two points that
// are kept looks the same at each LSN, so nothing that can be opened changes.

// hollow reports whether the record is that of segments that are joined to one
// before them.
func (r *record) hollow() bool { return r.size == 0 && r.last+1 == r.first }

// behind returns the record of segments that are joined to r.
func (r *record) behind() record {
	h := *r
	h.first, h.firstTime = r.last+1, r.lastTime
	return h
}

// holder returns the number of the record that ordinal i of the chunk has.
func (c *chunk) holder(i uint64) int {
	j, own := slices.BinarySearch(c.starts, uint16(i))
	if !own {
		j--
	}
	return j
}

// span returns how many ordinals record i of the chunk stands for.
func (c *chunk) span(i int) uint64 {
	switch {
	case c.starts == nil:
		return 1
	case i+1 < len(c.starts):
		return uint64(c.starts[i+1] - c.starts[i])
	}
	return uint64(chunkLen - int(c.starts[i]))
}

// joiner rebuilds a chunk with neighbours joined.
type joiner struct {
	out   chunk
	next  int // ordinal within the chunk
	apart func(first, last redoubt.LSN) bool
}

func (j *joiner) add(r record, n uint64) {
	at := uint16(j.next)
	j.next += int(n)
	if r.hollow() { // follows what it is joined to
		if len(j.out.recs) == 0 || !j.out.recs[len(j.out.recs)-1].hollow() {
			j.out.recs, j.out.starts = append(j.out.recs, r), append(j.out.starts, at)
		} else {
			j.out.recs[len(j.out.recs)-1] = r
		}
		return
	}
	if last := j.joinable(&r); last != nil {
		last.last, last.lastTime = r.last, r.lastTime
		if tail := &j.out.recs[len(j.out.recs)-1]; tail != last {
			*tail = last.behind()
		} else {
			j.out.recs, j.out.starts = append(j.out.recs, last.behind()), append(j.out.starts, at)
		}
		return
	}
	j.out.recs, j.out.starts = append(j.out.recs, r), append(j.out.starts, at)
}

// joinable returns the record that r can be joined to, or nil.
func (j *joiner) joinable(r *record) *record {
	i := len(j.out.recs) - 1
	if i > 0 && j.out.recs[i].hollow() {
		i--
	}
	if i < 0 || r.size != 0 || r.baseline != 0 {
		return nil
	}
	last := &j.out.recs[i]
	if last.size != 0 || last.baseline != 0 || last.hollow() || j.apart(last.first, r.last) {
		return nil
	}
	return last
}

// join joins, in the full chunks that hold ordinals [from, to), neighbours of
// which nothing is left. apart says that two segments stay apart which together
// hold these LSNs. The last chunk stays as it is: segments are added to it.
func (h *history) join(from, to, gen uint64, apart func(first, last redoubt.LSN) bool) {
	for i := from / chunkLen; i*chunkLen < to && i+1 < uint64(len(h.chunks)); i++ {
		c := &h.chunks[i]
		j := joiner{apart: apart}
		for n := range c.recs {
			j.add(c.recs[n], c.span(n))
		}
		if len(j.out.recs) < len(c.recs) {
			*c = chunk{recs: slices.Clip(j.out.recs), starts: slices.Clip(j.out.starts), gen: gen}
		}
	}
}

// joinGone joins what is gone of the epoch's segments [from, to), but where
// there is a point, or may be one: a point's time is that of its own segment.
func (s *state) joinGone(h *history, w Work, r *Retention) {
	t := r.Track(w.Epoch)
	h.join(w.From, w.To, s.gen, func(first, last redoubt.LSN) bool { return t.Next(first) <= last })
}
