package history

import (
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// PointSpec says which recovery point is meant: the latest, if no field but
// Before is set.
type PointSpec struct {
	Time     time.Time        // the state after the last write that is not later
	LSN      redoubt.LSN      // on the history that leads to the current state
	Position redoubt.Position // on any branch
	Bookmark string           // the newest of that name
	App      bool             // the newest application-consistent one
	// Before, if set, takes the history that leads to it in place of that which
	// leads to the current state: for choosing again after a failover.
	Before redoubt.Position
}

// ParsePoint reads "latest", "latest-app", a position EPOCH:LSN, an LSN, or a time in RFC 3339.
func ParsePoint(t string) (PointSpec, error) {
	t = strings.TrimSpace(t)
	switch t {
	case "", "latest":
		return PointSpec{}, nil
	case "latest-app":
		return PointSpec{App: true}, nil
	}
	if p, err := redoubt.ParsePosition(t); err == nil {
		return PointSpec{Position: p}, nil
	}
	if l, err := redoubt.ParseLSN(t); err == nil {
		return PointSpec{LSN: l}, nil
	}
	if w, err := time.Parse(time.RFC3339Nano, t); err == nil {
		return PointSpec{Time: w}, nil
	}
	return PointSpec{}, &redoubt.Error{Op: "parse point", Object: t, Err: redoubt.ErrInvalid,
		Hint: "a point is latest, a time such as 2026-01-02T15:04:05Z, an LSN such as 4711, or a position such as 1:4711"}
}

// String returns the form that ParsePoint reads; a bookmark is named as such.
func (p PointSpec) String() string {
	switch {
	case !p.Position.IsZero():
		return p.Position.String()
	case p.LSN != 0:
		return p.LSN.String()
	case p.Bookmark != "":
		return "bookmark " + p.Bookmark
	case p.App:
		return "latest-app"
	case !p.Time.IsZero():
		return p.Time.UTC().Format(time.RFC3339Nano)
	}
	return "latest"
}
