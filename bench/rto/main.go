package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// goal is what every first request must stay below.
const goal = 1000.0

func run(ctx context.Context, o options) error {
	if o.cost != nil {
		return costs(ctx, o, os.Stdout)
	}
	var all []result
	if o.ages == 0 {
		printHead(os.Stdout)
	}
	for _, segments := range o.histories {
		for _, size := range o.disks {
			r, err := one(ctx, o, segments, size)
			if err != nil {
				return fmt.Errorf("history of %d segments, disk of %d GiB: %w", segments, size>>30, err)
			}
			if o.ages > 0 {
				continue // printed
			}
			printRow(os.Stdout, r)
			all = append(all, r)
		}
	}
	if o.out != "" {
		b, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.out, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	for _, r := range all {
		if worst := max(r.FirstRead, r.ReadMax, r.WriteMax); worst > goal {
			return fmt.Errorf("the target of %.0f ms is missed: %.0f ms at %d segments and %d GiB", goal, worst, r.Segments, r.Disk>>30)
		}
	}
	return nil
}

// one generates a history, measures it and removes it.
func one(ctx context.Context, o options, segments, size uint64) (r result, err error) {
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp(o.dir, "rto"); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	s, h, err := prepare(ctx, o, dir, segments, size)
	if err != nil {
		return r, err
	}
	start := time.Now()
	if err := generate(ctx, s, h, o.within); err != nil {
		return r, err
	}
	// Or the daemons' syncs would pay for gigabytes of ours.
	unix.Sync()
	took := time.Since(start).Seconds()
	index, err := folderSize(folder(s.Targets[0], "index"))
	if err != nil {
		return r, err
	}
	switch {
	case o.ages > 0:
		return r, measureAges(ctx, s, h, o.ages, os.Stdout)
	case o.opens > 0:
		r, err = measure(ctx, s, h, o.opens)
	}
	if err != nil {
		return r, err
	}
	r.Segments, r.Disk, r.Generated, r.IndexDisk = segments, size, took, index
	return r, nil
}

func folderSize(dir string) (n int64, err error) {
	es, err := os.ReadDir(dir)
	for _, e := range es {
		if i, ierr := e.Info(); ierr == nil {
			n += i.Size()
		}
	}
	return n, err
}

func printHead(w io.Writer) {
	fmt.Fprintln(w, "| segments | disk GiB | first open: read ms | read ms p50 | max | write ms p50 | max | restart of a follower: first read ms | of the leader | daemon MiB | index MiB | generated in s |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
}

func printRow(w io.Writer, r result) {
	fmt.Fprintf(w, "| %d | %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %d | %d | %.0f |\n", r.Segments, r.Disk>>30, r.FirstRead, r.ReadP50, r.ReadMax,
		r.WriteP50, r.WriteMax, r.Restart, r.RestartLeader, r.RSS>>20, r.IndexDisk>>20, r.Generated)
}
