package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func retentionPlanCommand(a *app) *cobra.Command {
	var policy string
	c := &cobra.Command{
		Use: "plan GROUP", Short: "what would be kept and dropped now, why, and what it costs", Args: args("GROUP"),
		Long: "Says what the group's policy, or another one, keeps and drops at this moment, and whether the nodes have room for the history that it asks for. It changes nothing.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).PlanRetention, &adminv1.PlanRetentionRequest{Group: args[0], Policy: policy})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printRetentionPlan(w, r) })
		}),
	}
	c.Flags().StringVar(&policy, "policy", "", "another policy than the group's")
	return c
}

func printRetentionPlan(w io.Writer, r *adminv1.PlanRetentionResponse) {
	fmt.Fprintf(w, "policy %s at %s\n\n", r.Policy, stamp(r.Now))
	t := newTable(w, "KEEP", "POINTS")
	for _, k := range r.Keep {
		t.row(k.Reason, number(k.Points))
	}
	t.flush()
	fmt.Fprintln(w)
	t = newTable(w, "DROP", "POINTS", "OLDEST", "NEWEST")
	for _, d := range r.Drop {
		t.row(d.Reason, number(d.Points), stamp(d.Oldest), stamp(d.Newest))
	}
	t.flush()
	fmt.Fprintf(w, "gives back at most %s\n\n", iec(r.FreesAtMostBytes))
	printTiers(w, r.Tiers)
	fmt.Fprintln(w)
	printForecast(w, r)
}

func printForecast(w io.Writer, r *adminv1.PlanRetentionResponse) {
	fmt.Fprintf(w, "free space   %s on the nodes\n", iec(r.FreeBytes))
	switch {
	case r.GrowthBytesPerDay == 0:
		fmt.Fprintln(w, "forecast     the history is as long as the policy says, or there is nothing to measure yet")
	case r.ShortAt != nil:
		fmt.Fprintf(w, "forecast     it grows by %s a day and needs %s more: space ends at %s, when it reaches back %s\n",
			iec(uint64(r.GrowthBytesPerDay)), iec(r.NeedsBytes), stamp(r.ShortAt), span(time.Duration(r.ShortReachSeconds*float64(time.Second))))
	default:
		fmt.Fprintf(w, "forecast     it grows by %s a day and needs %s more: there is room\n", iec(uint64(r.GrowthBytesPerDay)), iec(r.NeedsBytes))
	}
}
