package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func nodeRemoveCommand(a *app) *cobra.Command {
	var noWait, force bool
	c := &cobra.Command{
		Use: "remove NAME", Short: "take a drained or dead node out of the cluster for good", Args: args("NAME"),
		Long: `Takes out a drained node, or one that was invited and has not come. With --force
a dead one, too: what it had is computed from the other nodes and spread over
them. Its name is never used again.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).RemoveNode, &adminv1.RemoveNodeRequest{Name: args[0], Force: force})
			if err != nil {
				return err
			}
			if !noWait {
				if _, err = a.waitNode(c.Context(), args[0], gone); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintf(w, "%s is removed\n", args[0]) })
		}),
	}
	c.Flags().BoolVar(&force, "force", false, "give up a dead node with what it holds, if the others can rebuild that")
	noWaitFlag(c, &noWait)
	return c
}
