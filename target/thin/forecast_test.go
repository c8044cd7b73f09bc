package thin

import (
	"testing"
	"time"
)

// A history grows band by band at what a day of each costs; what is not reached
// yet costs what the band before it costs.
func TestPredict(t *testing.T) {
	const day = 24 * time.Hour
	bands := []band{
		{from: 0, to: day, bytes: 1000, oldest: day},
		{from: day, to: 11 * day, bytes: 500, oldest: 6 * day}, // 100 a day
		{from: 11 * day, to: 31 * day},
	}
	f := predict(bands, 0, 1<<40)
	if f.Short || f.Needs < 2499 || f.Needs > 2500 || f.Rate < 99 || f.Rate > 101 {
		t.Errorf("with room: %+v", f)
	}
	f = predict(bands, int64(day), 700) // 500 fill the second band, 200 are two days more
	if !f.Short || time.Duration(f.End).Round(time.Hour) != 8*day || f.Reach.Round(time.Hour) != 13*day {
		t.Errorf("without: %+v, the end after %s, reach %s", f, time.Duration(f.End), f.Reach)
	}
	full := []band{{from: 0, to: day, bytes: 1000, oldest: 2 * day}}
	if f := predict(full, 0, 10); f.Short || f.Rate != 0 || f.Needs != 0 {
		t.Errorf("a history that is full: %+v", f)
	}
	if f := predict([]band{{to: day}}, 0, 10); f.Short || f.Rate != 0 {
		t.Errorf("nothing is known yet: %+v", f)
	}
}
