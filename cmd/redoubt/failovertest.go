package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func failoverTestCommand(a *app) *cobra.Command {
	var node, branch string
	var hydrate bool
	c := pointCommand(a, "test GROUP", "open a point writable beside production",
		"Opens a point as disks that can be written. Production, replication and retention do not notice; cleanup throws the writes away.",
		func(ctx context.Context, group string, at *adminv1.PointSpec) error {
			if branch != "" {
				at = nil
			}
			r, err := ask(ctx, a, (*admin.Client).TestFailover, &adminv1.TestFailoverRequest{Group: group, Point: at, Node: node, Hydrate: hydrate, Branch: branch})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "opened %s (%s) in %s\n\n", position(r.Export.GetPosition()), stamp(r.Export.GetTime()), millis(r.TookMs))
				printExport(w, r.Export)
				fmt.Fprintf(w, "\nredoubt failover cleanup %s %s   closes it\n", group, r.Export.GetId())
			})
		})
	hydrateFlag(c, &hydrate)
	branchFlag(c, &branch)
	c.Flags().StringVar(&node, "node", "", "the master target to open it on; default: the one that is asked")
	return c
}

// branchFlag names a branch instead of a point.
func branchFlag(c *cobra.Command, id *string) {
	c.Flags().StringVar(id, "branch", "", "the disks as the old primary had them: the ID of a branch that the source keeps (redoubt branch list)")
	c.MarkFlagsMutuallyExclusive("branch", "at")
}

func cleanupCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "cleanup GROUP [ID]", Short: "close a test failover, or all of the group's, and throw the writes away", Args: args("GROUP", "[ID]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).CleanupTest, &adminv1.CleanupTestRequest{Group: args[0], Id: optional(args, 1)})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				if len(r.Ids) == 0 {
					fmt.Fprintln(w, "no test failover is open")
					return
				}
				fmt.Fprintf(w, "closed %s, %s freed\n", strings.Join(r.Ids, ", "), iec(r.FreedBytes))
			})
		}),
	}
}
