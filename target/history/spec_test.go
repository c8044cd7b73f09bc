package history

import (
	"errors"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

func TestParsePoint(t *testing.T) {
	for in, want := range map[string]PointSpec{"latest": {}, "": {}, "17": {LSN: 17}, "2:17": {Position: redoubt.Position{Epoch: 2, LSN: 17}},
		"2026-01-02T15:04:05.5Z": {Time: time.Date(2026, 1, 2, 15, 4, 5, 5e8, time.UTC)}} {
		got, err := ParsePoint(in)
		if err != nil || got != want {
			t.Errorf("%q is %v, %v", in, got, err)
		}
		if again, err := ParsePoint(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q", in, got)
		}
	}
	if _, err := ParsePoint("yesterday"); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("yesterday: %v", err)
	}
}
