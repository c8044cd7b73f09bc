package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/redoubt-dr/redoubt/bench/stats"
)

// job is one kind of data that is taken in.
type job struct {
	name   string
	images []string // one per group
	bytes  int64    // payload: what the images hold
	goal   float64  // of the rate of nbdcopy
}

// Names of jobs, as -jobs takes them.
const (
	jobOne   = "one"
	jobEight = "eight"
	jobExt4  = "ext4"
)

func jobNames() []string { return []string{jobOne, jobEight, jobExt4} }

func run(ctx context.Context, o options, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "tb")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	jobs, err := makeJobs(ctx, dir, o)
	if err != nil {
		return err
	}
	var missed []string
	miss := func(what string, ratio, goal float64) {
		if ratio < goal {
			missed = append(missed, fmt.Sprintf("%s: %.2f of %.2f", what, ratio, goal))
		}
	}
	fmt.Fprintln(w, "| taken in | payload MiB | first commit after s | redoubt MB/s | nbdcopy MB/s | ratio | target | CPU s/GB | of these the source: user | system | the targets: user | system | written per byte | index per byte |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
	var reads []reading
	for _, j := range jobs {
		var ours, theirs []float64
		var last cost
		for round := range o.rounds {
			sides := []func() error{
				func() error {
					c, r, err := ingest(ctx, o, dir, j, round)
					if err != nil {
						return fmt.Errorf("%s: %w", j.name, err)
					}
					ours, last, reads = append(ours, c.seconds), c, append(reads, r...)
					return nil
				},
				func() error {
					t, err := nbdcopyIn(ctx, dir, j.images)
					theirs = append(theirs, t)
					return err
				},
			}
			if round%2 == 1 {
				slices.Reverse(sides)
			}
			for _, side := range sides {
				if err := levelMemory(dir, j.bytes); err != nil {
					return err
				}
				if err := side(); err != nil {
					return err
				}
			}
		}
		mb := float64(j.bytes) / 1e6
		ratio := stats.Median(theirs) / stats.Median(ours)
		gb := mb / 1e3
		fmt.Fprintf(w, "| %s | %d | %.2f | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %.4f |\n", j.name, j.bytes>>20, last.first, mb/stats.Median(ours), mb/stats.Median(theirs), ratio, j.goal,
			(last.source.cpu()+last.targets.cpu())/gb, last.source.user/gb, last.source.system/gb, last.targets.user/gb, last.targets.system/gb,
			last.targets.written/float64(j.bytes), last.index/float64(j.bytes))
		miss(j.name, ratio, j.goal)
	}
	if len(reads) > 0 {
		miss("a point into a file", printReads(w, reads), 1)
	}
	if missed != nil {
		return fmt.Errorf("targets missed: %q", missed)
	}
	return nil
}

func makeJobs(ctx context.Context, dir string, o options) (jobs []job, err error) {
	for _, name := range o.jobs {
		var j job
		switch name {
		case jobOne:
			j, err = randomJob(dir, "one group, incompressible", 1, o.mib<<20)
		case jobEight:
			j, err = randomJob(dir, "eight groups, incompressible", 8, o.mib<<20)
		case jobExt4:
			j, err = treeJob(ctx, dir, o)
		}
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// randomJob is groups with images of size bytes together that do not compress.
func randomJob(dir, name string, groups int, size int64) (job, error) {
	j := job{name: name, goal: 0.5}
	for i := range groups {
		p := filepath.Join(dir, fmt.Sprintf("random%d-%d", groups, i))
		n := size / int64(groups)
		if err := randomImage(p, n); err != nil {
			return j, err
		}
		j.images, j.bytes = append(j.images, p), j.bytes+n
	}
	return j, nil
}
