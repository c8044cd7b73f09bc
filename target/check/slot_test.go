package check

import (
	"testing"
	"time"
)

func TestNextSlot(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.TimeOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ now, last, want string }{
		{"10:20:00", "09:00:00", "11:00:00"},
		{"11:00:00", "11:00:00", "12:00:00"},
		{"10:59:59", "11:00:00", "12:00:00"}, // the clock was set back, and the check was short
		{"07:30:00", "11:00:00", "08:00:00"}, // set back by hours: these have checks of their own
	} {
		if got := nextSlot(at(c.now), at(c.last), time.Hour); !got.Equal(at(c.want)) {
			t.Errorf("%+v: %s", c, got.Format(time.TimeOnly))
		}
	}
}
