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

func resyncCommand(a *app) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use: "resync GROUP", Short: "compare the source's disks by hashes and ship what differs", Args: args("GROUP"),
		Long: `For a group that is ResyncRequired, because the source's journal was lost, or
Protected, because redoubt verify has found a difference: a new epoch begins at
what is stored, the source compares its disks with that by hashes, while they are
written to, and ships the blocks that differ. Recovery points from before stay; new
ones are there when all has been compared. What the source has is taken for right.
Asked of a master target.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).Resynchronise, &adminv1.ResynchroniseRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if wait {
				if err := a.awaitResync(c.Context(), args[0]); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is compared with %d:%d as epoch %d; redoubt status at the source shows how far it is\n", args[0], r.FromEpoch, r.FromLsn, r.Epoch)
			})
		}),
	}
	c.Flags().BoolVar(&wait, "wait", false, "wait until points are made again")
	return c
}

// awaitResync polls until the group has points again. An interrupted wait stops nothing.
func (a *app) awaitResync(ctx context.Context, group string) error {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	said := time.Now()
	for {
		_, g, err := a.findGroup(ctx, group)
		switch {
		case err != nil:
			return err
		case g.State == "Resyncing":
		case g.State == "Protected":
			return nil
		default:
			return &redoubt.Error{Op: "wait for the resynchronisation of", Object: group, Err: redoubt.ErrState, Hint: "the group is " + g.State + "; redoubt group show " + group}
		}
		if now := time.Now(); now.Sub(said) >= 2*time.Second && !a.json {
			said = now
			fmt.Fprintf(a.err, "%s: resynchronising, stored up to %s\n", group, position(g.Committed))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
