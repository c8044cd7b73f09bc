package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func unplannedCommand(a *app) *cobra.Command {
	var node string
	var hydrate bool
	c := pointCommand(a, "unplanned GROUP", "the source is lost: open a point as the new production",
		`Raises the group's epoch, so that the old source may not write any more, and opens
the point as writable disks. Until commit another point can be chosen, or all of it cancelled.`,
		func(ctx context.Context, group string, at *adminv1.PointSpec) error {
			r, err := ask(ctx, a, (*admin.Client).UnplannedFailover, &adminv1.UnplannedFailoverRequest{Group: group, Point: at, Node: node, Hydrate: hydrate})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				printPromotion(w, r.Promotion, r.Export, r.TookMs)
				fmt.Fprintf(w, "\nnext: redoubt failover commit|change|cancel %s\n", group)
			})
		})
	hydrateFlag(c, &hydrate)
	c.Flags().StringVar(&node, "node", "", "the master target to open it on; default: the one that is asked")
	return c
}

func changeCommand(a *app) *cobra.Command {
	var hydrate bool
	c := pointCommand(a, "change GROUP", "choose another point, before the commit",
		"Opens another point instead of the one that was failed over to. What was written since then to the old one is thrown away.",
		func(ctx context.Context, group string, at *adminv1.PointSpec) error {
			r, err := ask(ctx, a, (*admin.Client).ChangeRecoveryPoint, &adminv1.ChangeRecoveryPointRequest{Group: group, Point: at, Hydrate: hydrate})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printPromotion(w, r.Promotion, r.Export, r.TookMs) })
		})
	hydrateFlag(c, &hydrate)
	return c
}

func hydrateFlag(c *cobra.Command, on *bool) {
	c.Flags().BoolVar(on, "hydrate", false, "copy the disks to the exporting node in the background, so that reads need no other; also by target.hydrate of its configuration")
}
