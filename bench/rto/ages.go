package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/bench/coldcache"
	"github.com/redoubt-dr/redoubt/bench/stats"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// ages are the points whose reads are compared, in percent of the history; the
// first is the newest one, which the others are compared with.
func ages() []float64 { return []float64{100, 75, 50, 25, 1} }

// ageGoal is how much longer a read of an old point may take than one of the newest.
const ageGoal = 2.0

// aged is the latency of 4 KiB reads at one age, in milliseconds.
type aged struct {
	percent          float64
	coldP50, coldP99 float64 // the first read of each place after a start, nothing in the page cache
	warmP50, warmP99 float64 // the same places again
}

// measureAges reads n places at each age over NBD, one at a time.
func measureAges(ctx context.Context, s *site.Site, h *history, n int, w io.Writer) error {
	defer s.Close()
	fmt.Fprintln(w, "| segments | disk GiB | point, % of the history | cold p50 ms | p99 | warm p50 ms | p99 | cold p50 to the newest | p99 | warm p50 to the newest | p99 |\n|---|---|---|---|---|---|---|---|---|---|---|")
	var newest aged
	var missed []error
	for _, percent := range ages() {
		a, err := measureAge(ctx, s, h, percent, n)
		if err != nil {
			return fmt.Errorf("at %g %% of the history: %w", percent, err)
		}
		if percent == 100 {
			newest = a
		}
		ratios := []float64{a.coldP50 / newest.coldP50, a.coldP99 / newest.coldP99, a.warmP50 / newest.warmP50, a.warmP99 / newest.warmP99}
		fmt.Fprintf(w, "| %d | %d | %g | %.3f | %.2f | %.3f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", h.segments, h.size>>30, percent, a.coldP50, a.coldP99, a.warmP50, a.warmP99, ratios[0], ratios[1], ratios[2], ratios[3])
		if worst := slices.Max(ratios); worst > ageGoal {
			missed = append(missed, fmt.Errorf("a read at %g %% of the history takes %.2f times as long as at the newest point", percent, worst))
		}
	}
	return errors.Join(missed...)
}

// measureAge starts the daemons afresh, with an empty page cache, and reads n
// random places of the point twice.
func measureAge(ctx context.Context, s *site.Site, h *history, percent float64, n int) (a aged, err error) {
	if err := fresh(ctx, s); err != nil {
		return a, err
	}
	c, err := admin.Dial("unix:"+s.Targets[0].AdminSocket(), nil)
	if err != nil {
		return a, err
	}
	defer c.Close()
	if err := awaitLeader(ctx, c, len(s.Targets)); err != nil {
		return a, err
	}
	// Inside a segment, so that no age has the luck of a prefix that ends with it.
	at := max(lastLSN(uint64(math.Ceil(percent/100*float64(h.segments)))-1)-1, lastLSN(0))
	t, err := c.TestFailover(ctx, &adminv1.TestFailoverRequest{Group: string(group),
		Point: &adminv1.PointSpec{At: &adminv1.PointSpec_Position{Position: &adminv1.Position{Epoch: 1, Lsn: uint64(at)}}}})
	if err != nil {
		return a, err
	}
	defer func() {
		_, cerr := c.CleanupTest(ctx, &adminv1.CleanupTestRequest{Group: string(group), Id: t.Export.Id})
		err = errors.Join(err, cerr)
	}()
	nbd, err := oracle.Dial(ctx, t.Export.Socket, diskName)
	if err != nil {
		return a, err
	}
	defer nbd.Close()
	offs := h.places(at, n)
	pass := func(offs []uint64) ([]float64, error) {
		var out []float64
		buf := make([]byte, page)
		for _, off := range offs {
			start := time.Now()
			if _, err := nbd.ReadAt(buf, int64(off)); err != nil {
				return nil, err
			}
			out = append(out, since(start))
			if gotOff, gotLSN := stamp(buf); gotOff != off || gotLSN > at || gotLSN == 0 {
				return nil, fmt.Errorf("at %d the page at %d says that it is the page at %d of write %d", at, off, gotOff, gotLSN)
			}
		}
		return out, nil
	}
	cold, err := pass(offs)
	if err != nil {
		return a, err
	}
	warm, err := pass(offs)
	if err != nil {
		return a, err
	}
	return aged{percent: percent, coldP50: stats.Quantile(cold, 0.5), coldP99: stats.Quantile(cold, 0.99), warmP50: stats.Quantile(warm, 0.5), warmP99: stats.Quantile(warm, 0.99)}, nil
}

// fresh stops the daemons, drops what the system has in memory of their files, and
// starts them.
func fresh(ctx context.Context, s *site.Site) error {
	var g errgroup.Group
	for _, n := range s.Targets {
		g.Go(func() error {
			if n.Alive() {
				if err := n.Stop(patience); err != nil {
					return err
				}
			}
			return coldcache.Drop(n.Dir)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, n := range s.Targets {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// places returns n pages, each once, that were written up to the point at, in
// random order: a page of any write, whatever its age.
func (h *history) places(at redoubt.LSN, n int) (out []uint64) {
	rng := rand.New(rand.NewPCG(uint64(at), h.size))
	seen := map[uint64]bool{}
	for range 20 * n { // a short history may not have as many
		lsn := redoubt.LSN(1 + rng.Uint64N(uint64(at)))
		e := h.writes(uint64(lsn-1) / perDelta)[(lsn-1)%perDelta].Extent
		off := e.Off + rng.Uint64N(e.Len/page)*page
		if !seen[off] {
			seen[off] = true
			out = append(out, off)
		}
		if len(out) == n {
			break
		}
	}
	return out
}
