package target

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/gc"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// sums are the checksums of the disk at every point so far.
func (f *feed) sums() map[redoubt.LSN]uint32 {
	out := map[redoubt.LSN]uint32{}
	disk := make([]byte, f.disk.Size)
	for i, w := range f.all {
		l := redoubt.LSN(i + 1)
		for k := range w.n {
			b := disk[(w.at+k)*feedBlock:][:feedBlock]
			if clear(b); !w.zero {
				copy(b, f.data(l, k))
			}
		}
		out[l] = redoubt.Checksum(disk)
	}
	return out
}

// read compares a point with its checksum, read as hydration and as exports do.
// ErrNotFound: it is not there any more.
func (f *feed) read(ctx context.Context, h *host, l redoubt.LSN, want uint32) error {
	v, err := h.store.View(ctx, f.group, f.position(l))
	if err != nil {
		return err
	}
	defer v.Close()
	one, all := make([]byte, f.disk.Size), make([]byte, f.disk.Size)
	if err := v.ReadThrough(1, one, 0); err != nil {
		return err
	}
	err = v.EachData(ctx, 1, func(off uint64, b []byte) error { copy(all[off:], b); return nil })
	if err == nil && (redoubt.Checksum(one) != want || redoubt.Checksum(all) != want) {
		err = redoubt.ErrCorrupt
	}
	return err
}

// readers read points at all nodes until the function that it returns is called,
// which says how many were read and what went wrong first.
func (f *feed) readers(ls []redoubt.LSN, want map[redoubt.LSN]uint32, rng *rand.Rand) (stop func() (int, error)) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	var n int
	var failed error
	wg.Go(func() {
		for failed == nil {
			h, l := f.s.nodes[rng.IntN(len(f.s.nodes))], ls[rng.IntN(len(ls))]
			err := f.read(ctx, h, l, want[l])
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
				n++
			case !errors.Is(err, redoubt.ErrNotFound): // that is: thinned meanwhile
				failed = fmt.Errorf("point %s at %s: %w", f.position(l), h.id, err)
			}
		}
	})
	return func() (int, error) { cancel(); wg.Wait(); return n, failed }
}

// scrubs has all nodes scrub again and again until the function that it returns
// is called.
func (s *site) scrubs() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(20 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
			}
			for _, h := range s.nodes {
				if !h.store.Scrub().Running {
					_ = h.store.ScrubNow() // refused only where the scrub is off
				}
			}
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// History is thinned while a node drains, all nodes scrub and points are read:
// every point that is left shows what it showed before, no segment is less
// safe, and nothing that is dead stays in any log.
func TestThinningDrainAndScrubTogether(t *testing.T) {
	rng := seeded.Rand(t)
	c := &clock{}
	c.set(day1())
	s := openSite(&site{t: t, now: c.now, set: scrubbing, logFile: 128 << 10, silent: time.Minute, cache: 1 << 10}, 3)
	f := agedOn(s, c, rng.Uint64())
	s.add("n4")
	for range 4 {
		c.add(10 * time.Minute)
		f.burst(20, 300*time.Millisecond)
	}
	f.synced()
	before := f.sums()
	old := f.retained()
	read := f.readers(old, before, rand.New(rand.NewPCG(rng.Uint64(), 1)))
	defer read()
	quiet := s.scrubs()
	defer quiet()

	leaves := s.nodes[0]
	if leaves == f.owner {
		leaves = s.nodes[1]
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	noErr(t, f.owner.node.Drain(ctx, leaves.id, false))
	for n := 0; n < 12 || s.member(leaves.id).Held.Shards > 0; n++ {
		noErr(t, ctx.Err())
		c.add(10 * time.Minute)
		f.burst(20, 300*time.Millisecond)
		if err := f.owner.store.Retention().Retain(ctx, f.group); !errors.Is(err, redoubt.ErrUnavailable) { // a slow node is left out for a while, the next turn goes on
			noErr(t, err)
		}
	}
	n, err := read()
	noErr(t, err)
	quiet()

	s.whole(f.group)
	f.synced()
	left := f.retained()
	dropped := f.owner.node.Catalog().Retention(f.group).DroppedSegments
	t.Logf("%d points of %d are left, %d segments dropped, %d points read meanwhile", len(left), len(old), dropped, n)
	if n == 0 || dropped == 0 || len(left) >= len(old) {
		t.Error("nothing happened")
	}
	after := f.sums()
	for i, l := range left {
		noErr(t, f.read(t.Context(), s.nodes[i%len(s.nodes)], l, after[l]))
		if was, ok := before[l]; ok && was != after[l] {
			t.Fatalf("the model is wrong at %d", l)
		}
	}
	for _, h := range s.nodes {
		s.eventually("an end of moves and dead shards at "+string(h.id), func() bool {
			noErr(t, h.store.garbage.Collect(t.Context()))
			dead := 0
			for _, id := range h.shards() {
				if gc.Dead(h.node.Catalog(), id) {
					dead++
				}
			}
			return dead == 0 && h.strays() == 0
		})
		if found := s.scrubbed(h); found.Rotten+found.Files+found.Runs+found.Orphans > 0 {
			t.Errorf("%s: %+v", h.id, found)
		}
	}
	if have := len(leaves.shards()); have > 0 {
		t.Errorf("%s still has %d shards", leaves.id, have)
	}
	leaves.stop()
	for i, l := range left {
		if h := s.nodes[i%len(s.nodes)]; h != leaves {
			noErr(t, f.read(t.Context(), h, l, after[l]))
		}
	}
}

func (h *host) shards() (out []segment.ID) {
	noErr(h.site.t, h.store.log.Each(func(i segment.Info) bool {
		out = append(out, i.ID)
		return true
	}))
	return out
}

func (h *host) has(id segment.ID) bool {
	ok, err := h.store.log.Has(id)
	noErr(h.site.t, err)
	return ok
}
