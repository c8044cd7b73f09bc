package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func planDryRunCommand(a *app) *cobra.Command {
	var kind, direction string
	c := &cobra.Command{
		Use: "dry-run NAME", Short: "what a run would do, and how long that takes", Args: args("NAME"),
		Long: `Changes nothing. The times are those that the steps took in former runs, the median and the longest;
steps on the same line number run at the same time. What was never measured is named, with what is assumed.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).PredictPlan, &adminv1.PredictPlanRequest{Name: args[0], Kind: kind, Direction: direction})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printPrediction(w, r) })
		}),
	}
	c.Flags().StringVar(&kind, "kind", "unplanned", "test, planned or unplanned")
	directionFlag(c, &direction)
	return c
}

func directionFlag(c *cobra.Command, d *string) {
	c.Flags().StringVar(d, "direction", "failover", "failover, or failback to the old primary")
}

func printPrediction(w io.Writer, r *adminv1.PredictPlanResponse) {
	t := newTable(w, "", "STEP", "NODE", "WHAT", "EXPECTED", "LONGEST", "MEASURED")
	var unsure []string
	for _, s := range r.Steps {
		expected, worst := planTime(s.Expected), planTime(s.Worst)
		if s.Type == "confirm" {
			expected = "(people)"
		}
		t.row(fmt.Sprint(s.Batch+1), s.Key, s.Node, s.What, expected, worst, fmt.Sprintf("%d times", s.Measured))
		if s.Assumes != "" {
			unsure = append(unsure, s.Key+": "+s.Assumes)
		}
	}
	t.flush()
	fmt.Fprintf(w, "\nRTO of %s (version %d), %s %s: %s expected, %s at the longest\n", r.Plan, r.Version, r.Kind, r.Direction, planTime(r.Expected), planTime(r.Worst))
	if len(unsure) > 0 {
		fmt.Fprintln(w, "assumed:")
	}
	for _, u := range unsure {
		fmt.Fprintf(w, "  %s\n", u)
	}
}

func planTime(d *durationpb.Duration) string {
	if d == nil || d.AsDuration() == 0 {
		return ""
	}
	return d.AsDuration().Round(time.Millisecond).String()
}
