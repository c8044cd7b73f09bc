package pace

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func TestPace(t *testing.T) {
	const most = 64 << 20
	at := func(change func(*Load)) int64 {
		l := Load{Ingest: 8 << 20, Lag: 10 * time.Millisecond, Bound: time.Second, Rate: 16 << 20, Most: most}
		change(&l)
		rate, why := Rate(l)
		if why == "" {
			t.Errorf("%+v: no reason", l)
		}
		return rate
	}
	for _, c := range []struct {
		what   string
		change func(*Load)
		want   int64
	}{
		{"idle", func(l *Load) { l.Ingest, l.Lag = 0, 0 }, most},
		{"a small lag", func(*Load) {}, 24 << 20},
		{"near the bound", func(l *Load) { l.Lag = 600 * time.Millisecond }, 16 << 20},
		{"above the bound", func(l *Load) { l.Lag = 2 * time.Second }, 8 << 20},
		{"above it for long", func(l *Load) { l.Lag, l.Rate = 2*time.Second, 1 }, most / 64},
		{"above it for long, and bare", func(l *Load) { l.Lag, l.Rate, l.Bare = 2*time.Second, 1, true }, most / 8},
		{"never more than ingest leaves", func(l *Load) { l.Ingest, l.Rate = 50<<20, most }, 14 << 20},
		{"ingest takes more than all", func(l *Load) { l.Ingest = 100 << 20 }, most / 64},
		{"grows to what is free", func(l *Load) { l.Rate = 55 << 20 }, 56 << 20},
	} {
		if got := at(c.change); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}

// simulate runs a disk of the given capacity under an ingest that comes and
// goes, with repair at the rate that next says every half second, and returns the worst
// lag of ingest and the bytes repaired. Requests share the disk as they come.
func simulate(rng *rand.Rand, capacity float64, next func(Load) int64) (worst time.Duration, repaired float64) {
	const tick, most = 0.5, 256 << 20
	rate, queue, used := int64(most), 0.0, 0.0
	for i := range 600 {
		demand := 0.0
		if (i/60)%2 == 1 { // half a minute of load, half a minute of nothing
			demand = capacity * (0.5 + 0.3*rng.Float64())
		}
		lag := time.Duration(queue / (capacity * 0.65) * float64(time.Second))
		rate = next(Load{Ingest: int64(used / tick), Lag: lag, Bound: time.Second, Rate: rate, Most: most})
		// The disk serves both in proportion to what they ask for.
		want := queue + demand*tick
		rep := float64(rate) * tick
		share := min(1, capacity*tick/(want+rep))
		used = want * share
		queue = want - used
		repaired += rep * share
		if i > 4 {
			worst = max(worst, time.Duration(queue/(capacity*0.65)*float64(time.Second)))
		}
	}
	return worst, repaired
}

// On disks of any speed ingest keeps its lag near the bound and repair gets
// most of what is left; a fixed rate does not do that.
func TestPaceLeavesIngestItsRoom(t *testing.T) {
	rng := seeded.Rand(t)
	for _, capacity := range []float64{40 << 20, 100 << 20, 300 << 20} {
		worst, repaired := simulate(rng, capacity, func(l Load) int64 { r, _ := Rate(l); return r })
		if worst > 4*time.Second {
			t.Errorf("disk of %.0f MiB/s: ingest lags %s", capacity/(1<<20), worst)
		}
		if left := 0.4 * min(capacity, 256<<20) * 300; repaired < left {
			t.Errorf("disk of %.0f MiB/s: %.0f MiB repaired of %.0f", capacity/(1<<20), repaired/(1<<20), left/(1<<20))
		}
		t.Logf("disk of %.0f MiB/s: worst lag %s, %.0f MiB/s repaired", capacity/(1<<20), worst, repaired/(1<<20)/300)
	}
	if worst, _ := simulate(rng, 40<<20, func(l Load) int64 { return l.Most }); worst < 4*time.Second {
		t.Errorf("the judge does not see a rate that leaves ingest no room: worst lag %s", worst)
	}
}
