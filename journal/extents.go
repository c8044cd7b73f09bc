package journal

import "github.com/redoubt-dr/redoubt"

// Extents calls fn with every record after LSN after, without its data, in
// order, up to the head of now. It returns the last LSN that it has looked at.
// redoubt.ErrGap: records after it were trimmed.
func (j *Journal) Extents(after redoubt.LSN, fn func(redoubt.Write)) (redoubt.LSN, error) {
	r, err := j.seek(after+1, nil)
	if r == nil || err != nil {
		return after, err
	}
	defer r.close()
	r.chunk = pageSize
	last := after
	for {
		h, _, ok, err := r.next(false)
		if !ok || err != nil {
			return last, err
		}
		for i := range h.count {
			var w redoubt.Write
			h.write(i, &w)
			if w.LSN > after {
				fn(w)
			}
			last = max(last, w.LSN)
		}
	}
}
