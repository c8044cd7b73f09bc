package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func jobCommand(a *app) *cobra.Command {
	return parent("job", "what was and is done to a group: failovers, and what belongs to them", jobListCommand(a), jobShowCommand(a), jobCancelCommand(a))
}

func jobListCommand(a *app) *cobra.Command {
	return groupCall(a, "list GROUP", "the jobs of a group that are kept, the newest last", "The last 32 jobs of a group are kept.",
		(*admin.Client).ListJobs,
		func(g string) *adminv1.ListJobsRequest { return &adminv1.ListJobsRequest{Group: g} },
		func(w io.Writer, r *adminv1.ListJobsResponse) {
			t := newTable(w, "JOB", "KIND", "STATE", "STEP", "BEGAN", "TOOK", "BY", "NODE", "ERROR")
			for _, j := range r.Jobs {
				t.row(number(j.Id), j.Kind, j.State, j.Step, stamp(j.Began), took(j), j.By, j.Node, j.Error)
			}
			t.flush()
		})
}

func jobShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP [JOB]", Short: "one job with its steps; default: the newest", Args: args("GROUP", "[JOB]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			id, err := jobID(c, optional(args, 1))
			if err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).GetJob, &adminv1.GetJobRequest{Group: args[0], Id: id})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printJob(w, r.Job) })
		}),
	}
}

func jobCancelCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "cancel GROUP [JOB]", Short: "end a job; default: the one under way", Args: args("GROUP", "[JOB]"),
		Long: `Before a planned failover or a failback has promoted the other side, nothing is left of it:
the writer goes on where it was. What other jobs have done stands.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			id, err := jobID(c, optional(args, 1))
			if err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).CancelJob, &adminv1.CancelJobRequest{Group: args[0], Id: id})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printJob(w, r.Job) })
		}),
	}
}

func jobID(c *cobra.Command, s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, usage(c, "jobs count from 1: redoubt job list GROUP", "bad job %q", s)
	}
	return id, nil
}

func took(j *adminv1.Job) string {
	if j.Ended == nil || j.Began == nil {
		return ""
	}
	return j.Ended.AsTime().Sub(j.Began.AsTime()).Round(time.Millisecond).String()
}

func printJob(w io.Writer, j *adminv1.Job) {
	paused := ""
	if j.PausedMs > 0 {
		paused = millis(j.PausedMs)
	}
	fields(w, "job", fmt.Sprintf("%d, %s of %s", j.Id, j.Kind, j.Group), "state", j.State, "by", j.By, "node", j.Node, "began", stamp(j.Began), "ended", stamp(j.Ended), "took", took(j),
		"nobody could write for", paused, "error", j.Error, "hint", j.Hint)
	if len(j.Steps)+len(j.Step) > 0 {
		fmt.Fprintln(w)
	}
	for _, s := range j.Steps {
		fmt.Fprintf(w, "  %s  %-8s  %s\n", s.At.AsTime().Format("15:04:05.000"), s.Step, s.Note)
	}
	if j.Step != "" {
		fmt.Fprintf(w, "  under way     %s\n", strings.TrimSpace(j.Step+" "+progress(j)))
	}
}

// progress says how far the step under way is.
func progress(j *adminv1.Job) string {
	if j.Total == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d writes (%s)", j.Done, j.Total, percent(j.Done, j.Total))
}

// jobLine is what status says of a job that is under way.
func jobLine(j *adminv1.Job) string {
	line := fmt.Sprintf("job %d: %s, %s", j.Id, j.Kind, j.State)
	if j.Step != "" {
		line += ", step " + strings.TrimSpace(j.Step+" "+progress(j))
	}
	return line
}
