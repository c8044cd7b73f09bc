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

// joined returns the full chunk with neighbours joined of which nothing is left.
func (c *chunk) joined(gen uint64, apart func(first, last redoubt.LSN) bool) chunk {
	var heads []record
	var spans []uint64 // of each head, with what is joined to it
	for i := range c.recs {
		r, last := &c.recs[i], len(heads)-1
		switch {
		case last >= 0 && r.hollow() && heads[last].size == 0:
			spans[last] += c.span(i)
		case last >= 0 && joinable(&heads[last], r) && !apart(heads[last].first, r.last):
			heads[last].last, heads[last].lastTime = r.last, r.lastTime
			spans[last] += c.span(i)
		default:
			heads, spans = append(heads, *r), append(spans, c.span(i))
		}
	}
	out, at := chunk{gen: gen}, uint16(0)
	for i := range heads {
		out.recs, out.starts = append(out.recs, heads[i]), append(out.starts, at)
		if spans[i] > 1 {
			out.recs, out.starts = append(out.recs, heads[i].behind()), append(out.starts, at+1)
		}
		at += uint16(spans[i])
	}
	out.recs, out.starts = slices.Clip(out.recs), slices.Clip(out.starts)
	return out
}

// joinable reports whether nothing is left of either, nor a baseline in them.
func joinable(a, b *record) bool {
	return a.size == 0 && b.size == 0 && a.baseline == 0 && b.baseline == 0 && !a.hollow()
}

// join joins, in the full chunks that hold ordinals [from, to), neighbours of
// which nothing is left. apart says that two segments stay apart which together
// hold these LSNs. The last chunk stays as it is: segments are added to it.
func (h *history) join(from, to, gen uint64, apart func(first, last redoubt.LSN) bool) {
	for i := from / chunkLen; i*chunkLen < to && i+1 < uint64(len(h.chunks)); i++ {
		c := &h.chunks[i]
		if out := c.joined(gen, apart); len(out.recs) < len(c.recs) {
			*c = out
		}
	}
}

// firstLeft returns the first ordinal in [from, to) of which something is left,
// or to; something is left of what is not committed yet.
func (h *history) firstLeft(from, to uint64) uint64 {
	n := h.len()
	for from < to {
		if from >= n {
			return from
		}
		c, at := &h.chunks[from/chunkLen], from%chunkLen
		if c.at(at).size != 0 {
			return from
		}
		if c.starts == nil {
			from++
			continue
		}
		i := c.holder(at)
		from += uint64(c.starts[i]) + c.span(i) - at
	}
	return to
}

// joinGone joins what is gone of the epoch's segments [from, to), but where
// there is a point, or may be one: a point's time is that of its own segment.
func (s *state) joinGone(h *history, w Work, r *Retention) {
	t := r.Track(w.Epoch)
	h.join(w.From, w.To, s.gen, func(first, last redoubt.LSN) bool { return t.Next(first) <= last })
}
