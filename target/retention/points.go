package retention

import (
	"github.com/redoubt-dr/redoubt"
)

// Point is a recovery point.
type Point struct {
	Position redoubt.Position
	Time     int64 // of its write, Unix nanoseconds
}

// Path gives the points of one line of history, whose times never fall.
type Path interface {
	// Before returns the last point whose time is less than t; ok is false if
	// there is none.
	Before(t int64) (p Point, ok bool, err error)
}

// List is a Path of points in memory, in order.
type List []Point

// Before is a binary search.
func (l List) Before(t int64) (Point, bool, error) {
	lo, hi := 0, len(l)
	for lo < hi {
		if mid := (lo + hi) / 2; l[mid].Time < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return Point{}, false, nil
	}
	return l[lo-1], true, nil
}
