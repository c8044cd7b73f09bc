package target

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// A day of writes: what is kept is what the pure function says of all points
// that ever were, every point hashes right, and the space is bounded by what
// the points show. REDOUBT_HISTORY_HOURS and _BURSTS (an hour) for more.
func TestDayOfHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates a day")
	}
	hours, bursts := number("REDOUBT_HISTORY_HOURS", 24), number("REDOUBT_HISTORY_BURSTS", 12)
	quick, err := catalog.ParsePolicy("every=2m,1s=20m,1m=2h,1h=12h,bookmarks=3h")
	noErr(t, err)
	for name, p := range map[string]catalog.Policy{"default": catalog.DefaultPolicy(), "quick": quick} {
		t.Run(name, func(t *testing.T) {
			rng := seeded.Rand(t)
			c := &clock{}
			c.set(day1())
			s := newSiteAt(t, 3, c.now)
			f := newFeed(t, s, c, rng)
			f.policy(p)
			f.baseline()
			var hold redoubt.LSN
			for h := range hours {
				for b := range bursts {
					c.add(time.Hour/time.Duration(bursts) - 5*time.Second)
					var extra []redoubt.Write
					if b == bursts/2 && h%4 == 0 {
						name := "app-" + strconv.Itoa(h)
						extra = append(extra, redoubt.Write{Kind: redoubt.KindBookmark, Data: []byte(name), CRC: redoubt.Checksum([]byte(name))})
					}
					f.burst(16+rng.IntN(8), 200*time.Millisecond, extra...)
					if h == 1 && b == 0 {
						hold = redoubt.LSN(len(f.all) - 7) // in the middle of a second
						_, err := f.owner.node.Propose(t.Context(), catalog.SetPin{Group: f.group, Pin: catalog.Pin{Name: "audit", Kind: catalog.PinHold,
							Position: f.position(hold), Until: c.now().Add(1000 * time.Hour).UnixNano()}})
						noErr(t, err)
					}
					if b%4 == 0 {
						noErr(t, f.owner.store.Retention().Retain(t.Context(), f.group))
					}
				}
			}
			noErr(t, f.owner.store.Retention().Retain(t.Context(), f.group))
			f.synced()
			f.compare(p, hold)
			ls := f.retained()
			unique, whole := f.check(ls, number("REDOUBT_HISTORY_STRIDE", 1))
			logs, index := f.logBytes()
			bound := float64(unique) * 3 / 2
			if name != "default" {
				// Where hours lie between points most writes show a part of
				// themselves only, and stay whole: their checksum is of all of it.
				bound = float64(whole) * 3 / 2
			}
			r := f.owner.node.Catalog().Retention(f.group)
			t.Logf("%d writes, %d points kept, %d bookmarks; unique %d KiB of writes of %d, shard logs %d KiB = %.2f x bound, index %d KiB; %d segments dropped",
				len(f.all), len(ls), len(r.Marks), unique>>10, whole>>10, logs>>10, float64(logs)/bound, index>>10, r.DroppedSegments)
			if float64(logs) > 1.6*bound {
				t.Errorf("the shard logs have %d bytes, the points show %d of writes of %d", logs, unique, whole)
			}
			for _, h := range s.nodes {
				rep, err := Verify(h.store.o.FS, h.dir)
				noErr(t, err)
				if len(rep.Shards.Damage) > 0 {
					t.Errorf("%s: %v", h.id, rep.Shards.Damage)
				}
			}
		})
	}
}

// compare holds the catalog against the pure function.
func (f *feed) compare(p catalog.Policy, hold redoubt.LSN) {
	f.t.Helper()
	r := f.owner.node.Catalog().Retention(f.group)
	in := retention.Input{Policy: p, Path: f.points(), Now: r.Clock}
	if hold != 0 {
		in.Pinned = []retention.Pinned{{Point: retention.Point{Position: f.position(hold), Time: f.all[hold-1].time}, Reason: "hold"}}
	}
	for _, m := range r.Marks {
		if r.Clock-m.Time < int64(p.Bookmarks) {
			in.Pinned = append(in.Pinned, retention.Pinned{Point: retention.Point{Position: m.Position, Time: m.Time}, Reason: "bookmark"})
		}
	}
	d, err := retention.Decide(in)
	noErr(f.t, err)
	want := map[redoubt.LSN]bool{}
	for _, k := range d.Keep {
		want[k.Position.LSN] = true
	}
	g, _ := f.owner.node.Catalog().Group(f.group)
	dropped := 0
	for i, w := range f.all {
		l := redoubt.LSN(i + 1)
		if l < g.Baseline {
			continue
		}
		keep := want[l] || w.time >= d.Dense
		if r.Has(f.position(l)) != keep {
			f.t.Errorf("LSN %d, %s old: kept %v, the policy says %v", l, time.Duration(r.Clock-w.time), !keep, keep)
		}
		if !keep {
			dropped++
		}
	}
	if dropped == 0 {
		f.t.Error("nothing is dropped")
	}
}

func number(env string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return otherwise
}
