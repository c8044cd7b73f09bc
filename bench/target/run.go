package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/redoubt-dr/redoubt/demo/site"
)

// job is one kind of data that is taken in.
type job struct {
	name   string
	images []string // one per group
	bytes  int64    // payload: what the images hold
	goal   float64  // of the rate of nbdcopy
}

func run(ctx context.Context, o options, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "tb")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	jobs, err := makeJobs(ctx, dir, o.mib<<20)
	if err != nil {
		return err
	}
	var missed []string
	miss := func(what string, ratio, goal float64) {
		if ratio < goal {
			missed = append(missed, fmt.Sprintf("%s: %.2f of %.2f", what, ratio, goal))
		}
	}
	fmt.Fprintln(w, "| taken in | payload MiB | redoubt MB/s | nbdcopy MB/s | ratio | target | CPU s/GB | written per byte | index per byte |\n|---|---|---|---|---|---|---|---|---|")
	var reads []readTimes
	for _, j := range jobs {
		var ours, theirs []float64
		var last cost
		for range o.rounds {
			c, r, err := ingest(ctx, o, dir, j)
			if err != nil {
				return fmt.Errorf("%s: %w", j.name, err)
			}
			t, err := nbdcopyIn(ctx, dir, j.images)
			if err != nil {
				return err
			}
			ours, theirs, last, reads = append(ours, c.seconds), append(theirs, t), c, append(reads, r...)
		}
		mb := float64(j.bytes) / 1e6
		ratio := median(theirs) / median(ours)
		fmt.Fprintf(w, "| %s | %d | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f | %.4f |\n", j.name, j.bytes>>20, mb/median(ours), mb/median(theirs), ratio, j.goal,
			last.cpu/(mb/1e3), last.written/float64(j.bytes), last.index/float64(j.bytes))
		miss(j.name, ratio, j.goal)
	}
	miss("a point into a file", printReads(w, reads), 1)
	if missed != nil {
		return fmt.Errorf("targets missed: %q", missed)
	}
	return nil
}

func makeJobs(ctx context.Context, dir string, size int64) ([]job, error) {
	one := job{name: "one group, incompressible", goal: 0.5}
	eight := job{name: "eight groups, incompressible", goal: 0.5}
	add := func(j *job, name string, n int64) error {
		p := filepath.Join(dir, name)
		if err := randomImage(p, n); err != nil {
			return err
		}
		j.images, j.bytes = append(j.images, p), j.bytes+n
		return nil
	}
	if err := add(&one, "random", size); err != nil {
		return nil, err
	}
	for i := range 8 {
		if err := add(&eight, fmt.Sprintf("random%d", i), size/8); err != nil {
			return nil, err
		}
	}
	tree, err := site.FindTree()
	if err != nil {
		return nil, err
	}
	fs := job{name: "one group, ext4 of " + tree, goal: 1, images: []string{filepath.Join(dir, "ext4")}}
	if err := site.MakeExt4(ctx, fs.images[0], tree, 1<<30); err != nil {
		return nil, err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(fs.images[0], &st); err != nil {
		return nil, err
	}
	fs.bytes = st.Blocks * 512
	return []job{one, eight, fs}, nil
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
