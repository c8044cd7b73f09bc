package scrub

import (
	"testing"
	"time"
)

// A clock that went ten years ahead, and back, costs a pass at most: it does not
// end the scrub for ten years.
func TestDueAfterAClockWasSetBack(t *testing.T) {
	const week = 7 * 24 * time.Hour
	now := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		what    string
		started time.Time
		want    time.Duration
	}{
		{"never", time.Unix(0, 0), 0},
		{"just now", now, week},
		{"an hour ago", now.Add(-time.Hour), week - time.Hour},
		{"long ago", now.Add(-2 * week), 0},
		{"in ten years", now.Add(10 * 365 * 24 * time.Hour), 0},
	} {
		s := &Scrubber{o: Options{Bytes: 1, Every: week, Now: func() time.Time { return now }}, state: State{Started: c.started.UnixNano()}}
		if got := s.due(); got != c.want {
			t.Errorf("a pass that began %s: the next one is due in %s, not %s", c.what, got, c.want)
		}
	}
}
