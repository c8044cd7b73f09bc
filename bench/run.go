package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// bench measures all jobs on all rivals and saves the report; also what there
// is when it fails or is interrupted on the way.
func bench(ctx context.Context, o options) error {
	jobs, done, err := prepare(&o)
	if err != nil {
		return err
	}
	defer done()
	r := newResults(ctx, o, jobs)
	failed := r.rounds(ctx, o, rivalsOf(o))
	if failed != nil {
		r.Incomplete = failed.Error()
	}
	if len(r.Cells) == 0 {
		return failed
	}
	r.summarise()
	fmt.Print("\n", r.markdown(""))
	return errors.Join(failed, r.save(o.results, time.Now()))
}

// prepare reads the jobs and makes the folder and the images; done removes
// what it made.
func prepare(o *options) (jobs []job, done func(), err error) {
	if _, err := exec.LookPath("fio"); err != nil {
		return nil, nil, fmt.Errorf("%w (scripts/deps.sh installs it)", err)
	}
	if jobs, err = readJobs(o.jobs, o.match); err != nil {
		return nil, nil, err
	}
	parent := o.dir
	if o.dir, err = os.MkdirTemp(parent, "rb"); err != nil { // short: socket paths are
		return nil, nil, err
	}
	done = func() { os.RemoveAll(o.dir) }
	if err = o.absolute(); err == nil {
		err = makeMasters(*o, jobs)
	}
	if err != nil {
		done()
	}
	return jobs, done, err
}

func newResults(ctx context.Context, o options, jobs []job) *results {
	return &results{Machine: machine(ctx, o.dir, o.journalDir), Subject: o.subject(), TwoDisks: o.twoDisks(), jobs: jobs,
		Options: map[string]any{"rounds": o.rounds, "seconds": o.seconds, "disk_bytes": o.size, "long_disk_bytes": o.long, "journal_dir": o.journalDir}}
}

func (r *results) rounds(ctx context.Context, o options, rivals []rival) error {
	for round := range o.rounds {
		r.Machine.look(fmt.Sprintf("before round %d", round+1))
		for i, j := range r.jobs {
			if err := r.turn(ctx, o, round, i, j, rivals); err != nil {
				return err
			}
		}
	}
	r.Machine.look("at the end")
	return nil
}

// turn measures one job on every rival. Rivals start afresh, and another one
// goes first in each turn.
func (r *results) turn(ctx context.Context, o options, round, i int, j job, rivals []rival) error {
	for k := range rivals {
		v := rivals[(k+i+round)%len(rivals)]
		if r.Skipped[v.name] != "" {
			continue
		}
		t, err := v.start(ctx, j)
		var skip *skipError
		if errors.As(err, &skip) {
			r.skip(v.name, skip.why)
			continue
		}
		if err != nil {
			return fmt.Errorf("start %s for %s: %w", v.name, j.name, err)
		}
		err = r.one(ctx, o, load{job: j, seed: round + 1, secs: o.seconds}, v.name, round, t)
		if err = errors.Join(err, t.stop()); err != nil {
			return fmt.Errorf("%s on %s: %w", j.name, v.name, err)
		}
	}
	return nil
}

func (r *results) one(ctx context.Context, o options, l load, name string, round int, t *target) error {
	m, err := measure(ctx, o, l, t)
	if err != nil {
		return err
	}
	fmt.Printf("round %d  %-28s %-18s %9.0f IOPS  %7.1f MiB/s  p50 %7.0f us  p99 %8.0f us\n", round+1, l.job.name, name, m.IOPS, m.MiBps, m.P50us, m.P99us)
	r.add(l.job.name, name, m)
	if t.lag == nil || !l.job.writes() {
		return nil
	}
	p, err := measureRPO(ctx, o, l, t, m)
	if err != nil {
		return fmt.Errorf("RPO: %w", err)
	}
	fmt.Printf("round %d  %-28s at %.0f of %.0f IOPS: lag p99 %.2f s, max %.2f s\n", round+1, l.job.name, p.IOPS, p.LimitIOPS, p.p99(), p.max())
	r.RPO = append(r.RPO, p)
	return nil
}
