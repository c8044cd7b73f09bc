package pace

import (
	"fmt"
	"time"
)

// Load is what a node measures of the work at hand, for Rate.
type Load struct {
	Ingest int64         // bytes a second that ingest writes to this node's log
	Lag    time.Duration // age of the oldest delta that waits for its commit, on any node
	Bound  time.Duration // that ingest should keep below
	Rate   int64         // at which repair is allowed to go at present, bytes a second
	Most   int64         // at which it may go at all
	Bare   bool          // some segment would not outlive the loss of another shard
}

// Rate says how fast repair may go: a share of what ingest leaves. It is looked
// at every Tick. A lag above the bound halves the rate, one above half of the
// bound stops its growth, and a small one lets it grow by an eighth of the most,
// up to what ingest does not use. A trickle always goes on, or a node that is
// never idle would never be whole; it is larger while a segment is bare. With
// nobody shipping it is the most at once.
func Rate(l Load) (rate int64, why string) {
	least := l.Most / 64
	if l.Bare {
		least = l.Most / 8
	}
	least = max(1, least)
	free := max(least, l.Most-l.Ingest)
	switch {
	case l.Ingest == 0 && l.Lag == 0:
		return l.Most, "no ingest"
	case l.Lag > l.Bound:
		return max(least, min(free, l.Rate/2)), fmt.Sprintf("ingest lags %s, above %s", l.Lag.Round(time.Millisecond), l.Bound)
	case l.Lag > l.Bound/2:
		return max(least, min(free, l.Rate)), fmt.Sprintf("ingest lags %s, near %s", l.Lag.Round(time.Millisecond), l.Bound)
	}
	return max(least, min(free, l.Rate+max(1, l.Most/8))), "what ingest leaves"
}
