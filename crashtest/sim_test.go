package crashtest

import (
	"testing"
	"time"
)

func TestSim(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	var tl Tally
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); seed++ {
		if err := live(seed, Sound, &tl); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	t.Logf("%+v", tl)
}
func TestB(t *testing.T) {
	for _, m := range Modes()[:3] {
		seed := uint64(time.Now().UnixNano())
		var tl Tally
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); seed++ {
			if err := live(seed, m, &tl); err != nil {
				t.Logf("%s %d: %v", m, seed, err)
				break
			}
		}
		t.Logf("%+v", tl)
	}
}
