package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"time"
)

// options are the command's flags.
type options struct {
	bin, dir, jobs, results string
	rounds, seconds         int
	size                    int64
	only                    string
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "folder of redoubt and redoubtd")
	flag.StringVar(&o.dir, "dir", "", "folder for disks on the file system to measure (default: a new one under the temporary folder)")
	flag.StringVar(&o.jobs, "jobs", "bench/jobs", "folder of fio job files")
	flag.StringVar(&o.results, "results", "bench/results", "folder for the results")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; rivals take turns in each")
	flag.IntVar(&o.seconds, "seconds", 3, "length of one measurement")
	flag.Int64Var(&o.size, "mib", 512, "size of the disk in MiB")
	flag.StringVar(&o.only, "only", "", "only rivals whose name contains this")
	flag.Parse()
	o.size <<= 20
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if _, err := exec.LookPath("fio"); err != nil {
		return fmt.Errorf("%w (scripts/deps.sh installs it)", err)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "rb")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	for _, p := range []*string{&o.bin, &o.dir} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	jobs, err := readJobs(o.jobs)
	if err != nil {
		return err
	}
	res := &results{Machine: machine(ctx, o.dir), Options: map[string]any{"rounds": o.rounds, "seconds": o.seconds, "disk_bytes": o.size}}
	if res.Machine.Busy != "" {
		fmt.Println("NOTE: the machine is busy:", res.Machine.Busy)
	}
	master := filepath.Join(o.dir, "master")
	if err := fill(master, o.size); err != nil {
		return err
	}
	for round := range o.rounds {
		if err := res.round(ctx, o, round, master, jobs); err != nil {
			return err
		}
	}
	res.Machine.After = busy()
	res.summarise()
	fmt.Print("\n", res.markdown())
	return res.save(o.results, time.Now())
}

// round measures every job on every rival once. Rivals start afresh, on a new
// copy of the disk, and another one goes first in each round.
func (r *results) round(ctx context.Context, o options, round int, master string, jobs []job) error {
	rivals := allRivals(o)
	for i := range rivals {
		v := rivals[(i+round)%len(rivals)]
		t, err := v.start(ctx, master)
		var skip *skipError
		if errors.As(err, &skip) {
			r.skip(v.name, skip.why)
			continue
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", v.name, err)
		}
		for _, j := range jobs {
			m, err := measure(ctx, o, j, t)
			if err != nil {
				t.stop()
				return fmt.Errorf("%s on %s: %w", j.name, v.name, err)
			}
			fmt.Printf("round %d  %-22s %-18s %9.0f IOPS  %7.1f MiB/s  p99 %8.0f us\n", round+1, j.name, v.name, m.IOPS, m.MiBps, m.P99us)
			r.add(j.name, v.name, m)
		}
		if err := t.stop(); err != nil {
			return fmt.Errorf("stop %s: %w", v.name, err)
		}
	}
	return nil
}
