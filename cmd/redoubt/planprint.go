package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func printRun(w io.Writer, r *adminv1.PlanRun) {
	fields(w,
		"run", fmt.Sprintf("%s, version %d of the plan", r.Id, r.Version),
		"kind", r.Kind+" "+r.Direction,
		"point", r.Point,
		"state", fmt.Sprintf("%s, %d of %d steps", r.State, r.Done, r.Total),
		"failed", number(uint64(r.Failed)),
		"carried out by", fmt.Sprintf("%s, term %d", r.Node, r.Term),
		"started", join(stamp(r.Started), "by "+r.By),
		"ended", stamp(r.Ended),
	)
	fmt.Fprintln(w)
	t := newTable(w, "STEP", "TYPE", "STATE", "NODE", "TOOK", "ATTEMPTS", "BY")
	for _, s := range r.Steps {
		if undoing(s) && s.State == "pending" {
			continue
		}
		t.row(s.Key, s.Type, s.State, s.Node, stepTook(s), number(s.Attempt), s.By)
	}
	t.flush()
	for _, s := range r.Steps {
		printStep(w, s)
	}
	if len(r.Next) > 0 {
		fmt.Fprintf(w, "\nnext: redoubt plan %s %s\n", strings.Join(r.Next, "|"), r.Id)
	}
}

func undoing(s *adminv1.PlanStep) bool { return s.Type == "cleanup" || s.Type == "close" }

func stepTook(s *adminv1.PlanStep) string {
	if s.Started == nil || s.Ended == nil {
		return ""
	}
	return s.Ended.AsTime().Sub(s.Started.AsTime()).Round(time.Millisecond).String()
}

// printStep prints what there is to read about a step: its question, its
// error, the end of its output.
func printStep(w io.Writer, s *adminv1.PlanStep) {
	if s.State == "waiting" {
		fmt.Fprintf(w, "\n%s waits: %s\n", s.Key, s.Question)
	}
	if s.Error != "" {
		fmt.Fprintf(w, "\n%s: %s\n", s.Key, s.Error)
		if s.Hint != "" {
			fmt.Fprintf(w, "  hint: %s\n", s.Hint)
		}
	}
	if s.Output == "" || undoing(s) && s.State == "done" {
		return
	}
	fmt.Fprintf(w, "\n%s", s.Key)
	if s.OutputBytes > uint64(len(s.Output)) {
		fmt.Fprintf(w, ", the end of %s (sha256 %s)", iec(s.OutputBytes), s.OutputSha256)
	}
	fmt.Fprintf(w, ":\n  %s\n", strings.ReplaceAll(strings.TrimRight(s.Output, "\n"), "\n", "\n  "))
}
