package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt/bench/stats"
)

// compare measures redoubt of a revision ("old") and of the working tree
// ("new") in turns, and prints what differs.
func compare(ctx context.Context, o options) error {
	jobs, done, err := prepare(&o)
	if err != nil {
		return err
	}
	defer done()
	oldBin, err := buildRevision(ctx, o, o.base)
	if err != nil {
		return err
	}
	newBin := filepath.Join(o.dir, "new")
	if err := build(ctx, ".", newBin); err != nil {
		return err
	}
	r := newResults(ctx, o, jobs)
	if err := r.rounds(ctx, o, []rival{version(o, "old", oldBin), version(o, "new", newBin)}); err != nil {
		return err
	}
	fmt.Printf("\n%sold: %s, new: working tree (%s)\n\n%s", r.Machine.markdown(), o.base, r.Machine.Commit, r.comparison())
	return nil
}

func version(o options, name, bin string) rival {
	o.bin = bin
	return rival{name, func(ctx context.Context, j job) (*target, error) { return startRedoubt(ctx, o, j, o.replicate) }}
}

// buildRevision builds a revision in a git worktree of its own, which is gone
// afterwards.
func buildRevision(ctx context.Context, o options, rev string) (bin string, err error) {
	tree := filepath.Join(o.dir, "tree")
	if err := command(ctx, ".", "git", "worktree", "add", "--detach", tree, rev); err != nil {
		return "", err
	}
	defer func() {
		err = errors.Join(err, command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", tree))
	}()
	bin = filepath.Join(o.dir, "old")
	return bin, build(ctx, tree, bin)
}

// build puts both programs of a source tree into a folder, as `make build` does.
func build(ctx context.Context, tree, bin string) error {
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	return command(ctx, tree, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin+"/", "./cmd/redoubtd", "./cmd/redoubt")
}

func command(ctx context.Context, dir string, argv ...string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// significant is the p value below which a difference is named.
const significant = 0.05

// comparison is a table in the manner of benchstat, of IOPS and p99 latency.
func (r *results) comparison() string {
	var b strings.Builder
	for _, unit := range []struct {
		name string
		of   func(measurement) float64
	}{{"IOPS", iops}, {"p99 us", func(m measurement) float64 { return m.P99us }}} {
		fmt.Fprintf(&b, "%-30s %20s %20s %10s\n", unit.name, "old", "new", "delta")
		logs, n := 0.0, 0
		for _, j := range r.jobs {
			old, cur := r.cell(j.name, "old"), r.cell(j.name, "new")
			if old == nil || cur == nil {
				continue
			}
			a, c := values(old.Runs, unit.of), values(cur.Runs, unit.of)
			p, delta := stats.MannWhitney(a, c), "~"
			if p < significant {
				delta = fmt.Sprintf("%+.1f%%", 100*(stats.Median(c)/stats.Median(a)-1))
			}
			fmt.Fprintf(&b, "%-30s %20s %20s %10s  (p=%.3f n=%d+%d)\n", j.name, withSpread(a), withSpread(c), delta, p, len(a), len(c))
			if x := stats.Median(c) / stats.Median(a); x > 0 && !math.IsInf(x, 1) {
				logs, n = logs+math.Log(x), n+1
			}
		}
		if n > 1 {
			fmt.Fprintf(&b, "%-30s %52s\n", "geometric mean", fmt.Sprintf("%+.1f%%", 100*(math.Exp(logs/float64(n))-1)))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "~: p of the Mann-Whitney U test is not below %.2f; with less than 4 rounds it never is\n", significant)
	return b.String()
}

// withSpread is a median and how far the farthest value is from it.
func withSpread(vs []float64) string {
	m := stats.Median(vs)
	far := max(m-slices.Min(vs), slices.Max(vs)-m)
	return fmt.Sprintf("%.0f ± %.0f%%", m, 100*far/m)
}
