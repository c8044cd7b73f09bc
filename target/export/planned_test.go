package export

import (
	"testing"
	"time"
)

// A clock that is set back by ten years keeps nobody's writes held for ten years.
func TestLimitOfAStepWhenTheClockIsSetBack(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	for _, c := range []struct{ since, want time.Duration }{
		{0, time.Minute}, {20 * time.Second, 40 * time.Second}, {2 * time.Minute, -time.Minute}, {-10 * 365 * 24 * time.Hour, time.Minute},
	} {
		if got := left(time.Minute, began.UnixNano(), began.Add(c.since)); got != c.want {
			t.Errorf("%s after it began %s are left of a minute, not %s", c.since, got, c.want)
		}
	}
}
