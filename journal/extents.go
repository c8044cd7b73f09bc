package journal

import "github.com/redoubt-dr/redoubt"

// Extents calls fn with every record after LSN after, without its data, in
// order, up to the head of now. It returns the last LSN that it has looked at.
// redoubt.ErrGap: records after it were trimmed.
func (j *Journal) Extents(after redoubt.LSN, fn func(redoubt.Write)) (redoubt.LSN, error) {
	last := after
	err := j.heads(after, func(w *redoubt.Write) bool {
		fn(*w)
		last = max(last, w.LSN)
		return true
	})
	return last, err
}
