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
	"github.com/redoubt-dr/redoubt/bench/coldcache"
	"github.com/redoubt-dr/redoubt/bench/stats"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// The ways to make a file of a point.
const (
	wayExport  = iota // redoubt export --to, with a hash of the whole image
	wayPlain          // without one
	wayNbdcopy        // nbdcopy --flush from the point's NBD export
	ways
)

// reading is one reading back.
type reading struct {
	job     string
	bytes   int64
	way     int
	seconds float64 // until the file is durable
	cpu     used    // of the daemons and of the command
}

// readBack writes the newest point into a file in all ways, o.reads times each,
// and compares the results with the image. Another way begins each time; each
// finds the shards on the disk alone, a View that has read nothing, and the memory
// of the file that was just removed.
func readBack(ctx context.Context, s *site.Site, dir string, o options, j job, round int) (all []reading, err error) {
	for i := range o.reads {
		for k := range ways {
			way := (round + i + k) % ways
			r, err := readOnce(ctx, s, o.bin, filepath.Join(dir, "out"), j, way)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
	}
	return all, nil
}

func readOnce(ctx context.Context, s *site.Site, bin, out string, j job, way int) (r reading, err error) {
	r = reading{job: j.name, bytes: j.bytes, way: way}
	n := s.Targets[0]
	argv := []string{filepath.Join(bin, "redoubt"), "--socket", n.AdminSocket(), "export", "--to", out, group + "/disk"}
	switch way {
	case wayPlain:
		argv = append(argv, "--hash", "none")
	case wayNbdcopy:
		var t adminv1.TestFailoverResponse
		if err := s.Call(ctx, n, &t, "failover", "test", group); err != nil {
			return r, err
		}
		argv = []string{"nbdcopy", "--flush", t.GetExport().GetDisks()[0].GetUri(), out}
		defer func() { err = errors.Join(err, s.Call(ctx, n, nil, "failover", "cleanup", group)) }()
	}
	for _, t := range s.Targets {
		if err := coldcache.Drop(t.Dir); err != nil {
			return r, err
		}
	}
	before, err := usage(s.Targets)
	if err != nil {
		return r, err
	}
	start := time.Now()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	if b, err := cmd.CombinedOutput(); err != nil {
		return r, fmt.Errorf("%q: %w: %s", argv, err, b)
	}
	r.seconds = time.Since(start).Seconds()
	after, err := usage(s.Targets)
	if err != nil {
		return r, err
	}
	r.cpu = after.minus(before)
	r.cpu.user += cmd.ProcessState.UserTime().Seconds()
	r.cpu.system += cmd.ProcessState.SystemTime().Seconds()
	return r, errors.Join(command(ctx, "cmp", out, j.images[0]), os.Remove(out))
}

func command(ctx context.Context, argv ...string) error {
	if b, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%q: %w: %s", argv, err, b)
	}
	return nil
}

// printReads returns the worst ratio of the medians.
func printReads(w io.Writer, all []reading) float64 {
	fmt.Fprintln(w, "\n| read back | payload MiB | export MB/s | without a hash MB/s | nbdcopy from the export MB/s | ratio | target | CPU s/GB, user + system: export | without a hash | nbdcopy |\n|---|---|---|---|---|---|---|---|---|---|")
	type figures struct{ seconds, user, system [ways][]float64 }
	by := map[string]*figures{}
	bytes := map[string]int64{}
	var names []string
	for _, r := range all {
		f := by[r.job]
		if f == nil {
			f = &figures{}
			by[r.job] = f
			names = append(names, r.job)
		}
		bytes[r.job] = r.bytes
		f.seconds[r.way] = append(f.seconds[r.way], r.seconds)
		f.user[r.way] = append(f.user[r.way], r.cpu.user)
		f.system[r.way] = append(f.system[r.way], r.cpu.system)
	}
	worst := 1e9
	for _, name := range names {
		f, mb := by[name], float64(bytes[name])/1e6
		rate := func(way int) float64 { return mb / stats.Median(f.seconds[way]) }
		cpu := func(way int) string {
			return fmt.Sprintf("%.2f + %.2f", stats.Median(f.user[way])/mb*1e3, stats.Median(f.system[way])/mb*1e3)
		}
		ratio := rate(wayExport) / rate(wayNbdcopy)
		worst = min(worst, ratio)
		fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %.0f | %.2f | 1.00 | %s | %s | %s |\n", name, bytes[name]>>20, rate(wayExport), rate(wayPlain), rate(wayNbdcopy), ratio,
			cpu(wayExport), cpu(wayPlain), cpu(wayNbdcopy))
	}
	return worst
}
