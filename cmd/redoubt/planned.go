package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// jobPoll is how often a job that is waited for is looked at.
const jobPoll = 200 * time.Millisecond

// resumeWait is how long a job that is over waits for its source to say that it
// goes on.
const resumeWait = 10 * time.Second

func plannedCommand(a *app) *cobra.Command {
	var node string
	var stop time.Duration
	var hydrate, noWait bool
	c := &cobra.Command{
		Use: "planned GROUP", Short: "move production to the secondary without losing a write", Args: args("GROUP"),
		Long: `Ships until little is left, stops the writers at the source, ships the rest, compares
what was shipped last, and opens the source's last write as the new production. If anything
fails before that, the source goes on as if nothing had happened.

It is a job and goes on when this command ends: redoubt job show, redoubt failover cancel.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if stop < 0 {
				return usage(c, "such as --stop-limit 2m", "bad --stop-limit %s", stop)
			}
			r, err := ask(c.Context(), a, (*admin.Client).PlannedFailover, &adminv1.PlannedFailoverRequest{Group: args[0], Node: node, LimitMs: uint64(stop.Milliseconds()), Hydrate: hydrate})
			if err != nil {
				return err
			}
			j := r.Job
			if !noWait {
				if j, err = a.waitJob(c.Context(), j); err != nil {
					return err
				}
			}
			return a.show(&adminv1.PlannedFailoverResponse{Job: j}, func(w io.Writer) { a.printPlanned(c.Context(), w, j) })
		}),
	}
	hydrateFlag(c, &hydrate)
	c.Flags().StringVar(&node, "node", "", "the master target to open it on, and no other; default: the one that is asked, or the group's owner if that one dies")
	c.Flags().DurationVar(&stop, "stop-limit", time.Minute, "how long the writers at the source may be stopped before it is called off")
	c.Flags().BoolVar(&noWait, "no-wait", false, "return when the job has begun")
	return c
}

// printPlanned says what came of it, and where the disks are.
func (a *app) printPlanned(ctx context.Context, w io.Writer, j *adminv1.Job) {
	printJob(w, j)
	if j.State != "done" {
		return
	}
	if x, err := a.exportOf(ctx, j.Group); err == nil && x != nil {
		fmt.Fprintln(w)
		printExport(w, x)
	}
	fmt.Fprintf(w, "\nnext: redoubt failover commit|change|cancel %s\n", j.Group)
}

func (a *app) exportOf(ctx context.Context, group string) (*adminv1.Export, error) {
	r, err := ask(ctx, a, (*admin.Client).ListExports, &adminv1.ListExportsRequest{Group: group})
	if err != nil {
		return nil, err
	}
	for _, x := range r.Exports {
		if x.Kind == "failover" {
			return x, nil
		}
	}
	return nil, nil
}

// waitJob polls until the job is over, also when the node that is asked does not
// answer for a while, and says what it does. --timeout bounds each call, not the
// wait. A job that failed is an error.
func (a *app) waitJob(ctx context.Context, j *adminv1.Job) (*adminv1.Job, error) {
	tick := time.NewTicker(jobPoll)
	defer tick.Stop()
	said, line, silent, over := 0, "", time.Time{}, time.Time{}
	for j.State == "running" || j.State == "cancelling" && (over.IsZero() || time.Since(over) < resumeWait) {
		select {
		case <-ctx.Done():
			return nil, &redoubt.Error{Op: "wait for job", Object: fmt.Sprintf("%s/%d", j.Group, j.Id), Err: ctx.Err(), Hint: "it goes on: redoubt job show " + j.Group}
		case <-tick.C:
		}
		r, err := ask(ctx, a, (*admin.Client).GetJob, &adminv1.GetJobRequest{Group: j.Group, Id: j.Id})
		if err != nil {
			if silent.IsZero() {
				silent = time.Now()
			}
			if ctx.Err() == nil && (a.timeout == 0 || time.Since(silent) < a.timeout) {
				continue
			}
			return nil, err
		}
		j, silent = r.Job, time.Time{}
		if j.State == "cancelling" && over.IsZero() {
			over = time.Now()
		}
		said, line = a.sayJob(j, said, line)
	}
	if j.State == "done" {
		return j, nil
	}
	return nil, failedJob(j)
}

// sayJob says what is new since said steps and line.
func (a *app) sayJob(j *adminv1.Job, said int, line string) (int, string) {
	if a.json {
		return said, line
	}
	for ; said < len(j.Steps); said++ {
		s := j.Steps[said]
		fmt.Fprintf(a.err, "%s: %s\n", s.Step, s.Note)
	}
	if now := j.Step + ": " + progress(j); progress(j) != "" && now != line {
		fmt.Fprintln(a.err, now)
		line = now
	}
	return said, line
}

func failedJob(j *adminv1.Job) error {
	out := jobFailure{text: fmt.Sprintf("job %d %s: %s", j.Id, j.State, j.Error), is: redoubt.ErrUnavailable}
	if j.State == "cancelled" {
		out.is = redoubt.ErrState
	}
	return &redoubt.Error{Op: j.Kind + " of", Object: j.Group, Err: out, Hint: j.Hint}
}

// jobFailure is what a job's record says; it names its cause already.
type jobFailure struct {
	text string
	is   error
}

func (e jobFailure) Error() string { return e.text }
func (e jobFailure) Unwrap() error { return e.is }
