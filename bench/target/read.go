package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// readTimes is how long a point took to become a file, durable.
type readTimes struct {
	job             string
	bytes           int64
	export, nbdcopy float64 // seconds
	plain           float64 // export without a hash of the whole image
}

// readBack writes the newest point into a file in all ways, and compares the
// results with the image.
func readBack(ctx context.Context, s *site.Site, dir string, j job) (readTimes, error) {
	r := readTimes{job: j.name, bytes: j.bytes}
	n := s.Targets[0]
	timed := func(into *float64, out string, fn func() error) error {
		start := time.Now()
		err := fn()
		*into = time.Since(start).Seconds()
		if err == nil {
			err = command(ctx, "cmp", out, j.images[0])
		}
		return errors.Join(err, os.Remove(out))
	}
	export := func(out string, more ...string) func() error {
		return func() error {
			return s.Call(ctx, n, nil, append([]string{"export", "--to", out, group + "/disk"}, more...)...)
		}
	}
	out := filepath.Join(dir, "out")
	if err := timed(&r.export, out, export(out)); err != nil {
		return r, err
	}
	// Each way begins with a fresh View, so none profits from the other's cache
	// but for what the daemon's block cache keeps; the export leaves nothing there.
	var t adminv1.TestFailoverResponse
	err := timed(&r.nbdcopy, out, func() error {
		if err := s.Call(ctx, n, &t, "failover", "test", group); err != nil {
			return err
		}
		return command(ctx, "nbdcopy", "--flush", t.GetExport().GetDisks()[0].GetUri(), out)
	})
	if err != nil {
		return r, err
	}
	if err := s.Call(ctx, n, nil, "failover", "cleanup", group); err != nil {
		return r, err
	}
	return r, timed(&r.plain, out, export(out, "--hash", "none"))
}

func command(ctx context.Context, argv ...string) error {
	if b, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w: %s", argv, err, b)
	}
	return nil
}

// printReads returns the worst ratio of the medians.
func printReads(w io.Writer, all []readTimes) float64 {
	fmt.Fprintln(w, "\n| read back | payload MiB | export MB/s | without a hash MB/s | nbdcopy from the export MB/s | ratio | target |\n|---|---|---|---|---|---|---|")
	by := map[string][]readTimes{}
	var names []string
	for _, r := range all {
		if by[r.job] == nil {
			names = append(names, r.job)
		}
		by[r.job] = append(by[r.job], r)
	}
	worst := 1e9
	for _, name := range names {
		var e, p, n []float64
		for _, r := range by[name] {
			e, p, n = append(e, r.export), append(p, r.plain), append(n, r.nbdcopy)
		}
		mb, ratio := float64(by[name][0].bytes)/1e6, median(n)/median(e)
		worst = min(worst, ratio)
		fmt.Fprintf(w, "| %s | %.0f | %.0f | %.0f | %.0f | %.2f | 1.00 |\n", name, mb*1e6/(1<<20), mb/median(e), mb/median(p), mb/median(n), ratio)
	}
	return worst
}
