package retention

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// naive looks at every point: is it young, the last of a bucket of a tier that
// reaches it, the newest, pinned, or the last bucket's end before all tiers?
func naive(in Input, all List) (keep []redoubt.LSN) {
	var oldest redoubt.LSN
	last := func(i int, step time.Duration) bool {
		return i == len(all)-1 || floor(all[i].Time, step) != floor(all[i+1].Time, step)
	}
	for i, p := range all {
		age := time.Duration(in.Now - p.Time)
		n := len(in.Policy.Tiers)
		if age >= in.Policy.Longest() && (n == 0 || last(i, in.Policy.Tiers[n-1].Step)) {
			oldest = p.Position.LSN
		}
	}
	for i, p := range all {
		age := time.Duration(in.Now - p.Time)
		yes := age <= in.Policy.Every || !in.Branch && (i == len(all)-1 || p.Position.LSN == oldest)
		for _, t := range in.Policy.Tiers {
			yes = yes || age <= t.For && last(i, t.Step)
		}
		for _, k := range in.Pinned {
			yes = yes || k.Position == p.Position
		}
		if yes {
			keep = append(keep, p.Position.LSN)
		}
	}
	return keep
}

func decided(t *testing.T, in Input, all List) (keep []redoubt.LSN) {
	t.Helper()
	d, err := Decide(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range d.Keep {
		if len(k.Reasons) == 0 || k.Time >= d.Dense {
			t.Errorf("%v is kept without a reason, or twice", k)
		}
		keep = append(keep, k.Position.LSN)
	}
	for _, p := range all {
		if p.Time >= d.Dense {
			keep = append(keep, p.Position.LSN)
		}
	}
	return keep
}

func history(rng *rand.Rand, n int) (all List) {
	at := int64(1e18) + rng.Int64N(1e15)
	for i := range n {
		switch rng.IntN(10) {
		case 0:
			at += rng.Int64N(int64(5 * time.Hour))
		case 1, 2, 3:
			at += rng.Int64N(int64(5 * time.Second))
		case 4: // the same time
		default:
			at += rng.Int64N(int64(time.Second))
		}
		all = append(all, Point{Position: redoubt.Position{Epoch: 1, LSN: redoubt.LSN(i + 1)}, Time: at})
	}
	return all
}

func policies(t *testing.T) (out []catalog.Policy) {
	for _, s := range []string{"every=15m,1s=1d,1m=3d,1h=14d,1d=60d,bookmarks=60d", "every=1s,bookmarks=0s", "every=1m,1h=12h,bookmarks=0s", "every=10s,2s=5m,10s=1h,1d=3d,bookmarks=0s"} {
		p, err := catalog.ParsePolicy(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestDecideIsWhatTheWordsSay(t *testing.T) {
	rng := seeded.Rand(t)
	for _, p := range policies(t) {
		for _, branch := range []bool{false, true} {
			for range 20 {
				all := history(rng, 1+rng.IntN(1500))
				in := Input{Policy: p, Path: all, Branch: branch, Now: all[len(all)-1].Time + rng.Int64N(int64(24*time.Hour))}
				for range rng.IntN(3) {
					in.Pinned = append(in.Pinned, Pinned{all[rng.IntN(len(all))], "pin"})
				}
				want, got := naive(in, all), decided(t, in, all)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Fatalf("%s, branch %v: kept %s, want %s", p, branch, diff(got, want), diff(want, got))
				}
			}
		}
	}
}

func diff(a, b []redoubt.LSN) string {
	var out []redoubt.LSN
	for _, l := range a {
		if !slices.Contains(b, l) {
			out = append(out, l)
		}
	}
	return fmt.Sprint(out)
}

// What stays does not depend on how often one decides on the way.
func TestDecidingOftenChangesNothing(t *testing.T) {
	rng := seeded.Rand(t)
	for _, p := range policies(t) {
		for range 10 {
			all := history(rng, 1000)
			var left List
			for i, pt := range all {
				left = append(left, pt)
				if rng.IntN(40) != 0 && i != len(all)-1 {
					continue
				}
				keep := decided(t, Input{Policy: p, Path: left, Now: pt.Time}, left)
				left = slices.DeleteFunc(left, func(q Point) bool { return !slices.Contains(keep, q.Position.LSN) })
			}
			var got []redoubt.LSN
			for _, q := range left {
				got = append(got, q.Position.LSN)
			}
			if want := naive(Input{Policy: p, Now: all[len(all)-1].Time}, all); !slices.Equal(got, want) {
				t.Fatalf("%s: kept %s beyond, without %s", p, diff(got, want), diff(want, got))
			}
		}
	}
}
