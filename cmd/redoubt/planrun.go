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

func planTestCommand(a *app) *cobra.Command {
	var at string
	var noWait bool
	c := &cobra.Command{
		Use: "test NAME", Short: "carry a plan out beside production", Args: args("NAME"),
		Long: `Opens all groups as test failovers at one instant, and runs the scripts. Production, replication
and retention do not notice. Afterwards: redoubt plan cleanup RUN.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			return a.startPlan(c.Context(), &adminv1.StartPlanRequest{Name: args[0], Kind: "test", Point: at}, noWait)
		}),
	}
	c.Flags().StringVar(&at, "time", "", "the instant, RFC 3339; default: the latest of which the secondary has the writes of all groups. Also latest, or bookmark:NAME")
	noWaitFlag(c, &noWait)
	return c
}

func planRunCommand(a *app) *cobra.Command {
	r := &adminv1.StartPlanRequest{}
	var noWait bool
	c := &cobra.Command{
		Use: "run NAME", Short: "carry a plan out", Args: args("NAME"),
		Long: `A planned run loses nothing and stops at an error: then resume or cancel it. An unplanned one is for
a lost primary: it goes on after an error, and says at the end what failed.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if r.Kind != "planned" && r.Kind != "unplanned" {
				return usage(c, "a test is: redoubt plan test "+args[0], "--kind planned or --kind unplanned must be given")
			}
			r.Name = args[0]
			return a.startPlan(c.Context(), r, noWait)
		}),
	}
	c.Flags().StringVar(&r.Kind, "kind", "", "planned or unplanned")
	c.Flags().StringVar(&r.Point, "point", "", "of an unplanned run: latest (default), a time, or bookmark:NAME")
	directionFlag(c, &r.Direction)
	noWaitFlag(c, &noWait)
	return c
}

func (a *app) startPlan(ctx context.Context, req *adminv1.StartPlanRequest, noWait bool) error {
	r, err := ask(ctx, a, (*admin.Client).StartPlan, req)
	if err != nil {
		return err
	}
	return a.afterwards(ctx, r.Run, noWait)
}

// afterwards follows the run to where nothing happens by itself, unless noWait, and
// prints it. A run that did not go well is an error.
func (a *app) afterwards(ctx context.Context, r *adminv1.PlanRun, noWait bool) error {
	var err error
	if !noWait {
		if r, err = a.followRun(ctx, r); err != nil {
			return err
		}
	}
	if err := a.show(r, func(w io.Writer) { printRun(w, r) }); err != nil {
		return err
	}
	switch r.State {
	case "stopped", "failed":
		return &redoubt.Error{Op: "carry out", Object: r.Id, Err: fmt.Errorf("it is %s, %d steps failed", r.State, r.Failed),
			Hint: "mend what failed, then redoubt plan resume " + r.Id + "; or cancel it"}
	}
	return nil
}

// followRun waits as long as the run goes on by itself, and says what it does.
// It is in the cluster: a wait that is interrupted stops nothing. A node that
// dies meanwhile is asked again when it is back.
func (a *app) followRun(ctx context.Context, r *adminv1.PlanRun) (*adminv1.PlanRun, error) {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	said := map[string]string{}
	for r.State == "running" || r.State == "undoing" {
		a.sayProgress(r, said)
		select {
		case <-ctx.Done():
			return nil, &redoubt.Error{Op: "follow", Object: r.Id, Err: ctx.Err(), Hint: "it goes on; redoubt plan status " + r.Id}
		case <-tick.C:
		}
		now, err := ask(ctx, a, (*admin.Client).GetPlanRun, &adminv1.GetPlanRunRequest{Id: r.Id})
		if err != nil {
			return nil, &redoubt.Error{Op: "follow", Object: r.Id, Err: err, Hint: "it goes on; ask another node: redoubt --server https://NODE plan status " + r.Id}
		}
		r = now.Run
	}
	a.sayProgress(r, said)
	return r, nil
}

// sayProgress prints every step whose state is another one than before.
func (a *app) sayProgress(r *adminv1.PlanRun, said map[string]string) {
	if a.json {
		return
	}
	for _, s := range r.Steps {
		if s.State == "pending" || said[s.Key] == s.State {
			continue
		}
		said[s.Key] = s.State
		fmt.Fprintf(a.err, "%s: %s %s\n", r.Id, s.Key, s.State)
		if s.State == "waiting" {
			fmt.Fprintf(a.err, "  %s\n  redoubt plan confirm %s %s\n", s.Question, r.Id, s.Key)
		}
	}
}

func planStatusCommand(a *app) *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use: "status RUN", Short: "a run and its steps", Args: args("RUN"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).GetPlanRun, &adminv1.GetPlanRunRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if follow {
				return a.afterwards(c.Context(), r.Run, false)
			}
			return a.show(r.Run, func(w io.Writer) { printRun(w, r.Run) })
		}),
	}
	c.Flags().BoolVar(&follow, "follow", false, "wait until it is over, stops or waits for cleanup")
	return c
}

func planConfirmCommand(a *app) *cobra.Command {
	var refuse bool
	c := &cobra.Command{
		Use: "confirm RUN STEP", Short: "answer a step that waits", Args: args("RUN", "STEP"),
		Long: "The run goes on. Who confirmed is recorded. STEP is named as plan status does.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ConfirmPlanStep, &adminv1.ConfirmPlanStepRequest{Id: args[0], Step: args[1], Refuse: refuse})
			if err != nil {
				return err
			}
			return a.show(r.Run, func(w io.Writer) { printRun(w, r.Run) })
		}),
	}
	c.Flags().BoolVar(&refuse, "refuse", false, "no: the step fails")
	return c
}

func planResumeCommand(a *app) *cobra.Command {
	var skip string
	var noWait bool
	c := &cobra.Command{
		Use: "resume RUN", Short: "go on after an error", Args: args("RUN"),
		Long: "Steps that failed are carried out again, those that are done are not.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ResumePlanRun, &adminv1.ResumePlanRunRequest{Id: args[0], Skip: skip})
			if err != nil {
				return err
			}
			return a.afterwards(c.Context(), r.Run, noWait)
		}),
	}
	c.Flags().StringVar(&skip, "skip", "", "a failed step that is passed over")
	noWaitFlag(c, &noWait)
	return c
}

func planCancelCommand(a *app) *cobra.Command {
	var undo, noWait bool
	c := &cobra.Command{
		Use: "cancel RUN", Short: "end a run", Args: args("RUN"),
		Long: `What is under way is given up. A test run is cleaned up. Of another one everything stays as it is,
unless --undo: then the cleanup scripts run, and groups that it failed over and that are not committed go back.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).CancelPlanRun, &adminv1.CancelPlanRunRequest{Id: args[0], Undo: undo})
			if err != nil {
				return err
			}
			return a.afterwards(c.Context(), r.Run, noWait)
		}),
	}
	c.Flags().BoolVar(&undo, "undo", false, "take back what it did")
	noWaitFlag(c, &noWait)
	return c
}

func planCleanupCommand(a *app) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "cleanup RUN", Short: "end the test failovers of a test run", Args: args("RUN"),
		Long: "Runs the cleanup scripts, and throws away what was written. It is tried until every node has answered.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).CleanupPlanRun, &adminv1.CleanupPlanRunRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return a.afterwards(c.Context(), r.Run, noWait)
		}),
	}
	noWaitFlag(c, &noWait)
	return c
}
