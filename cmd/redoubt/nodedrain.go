package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func nodeDrainCommand(a *app) *cobra.Command {
	var noWait, cancel bool
	c := &cobra.Command{
		Use: "drain NAME", Short: "move a node's shards and groups to the others", Args: args("NAME"),
		Long: `The node gets no new shards and owns no group any more; what it has moves to the
other nodes. Every point stays readable, and as safe as it was. Afterwards it
can be removed.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).DrainNode, &adminv1.DrainNodeRequest{Name: args[0], Cancel: cancel})
			if err != nil {
				return err
			}
			if !noWait && !cancel {
				if r.Node, err = a.waitNode(c.Context(), args[0], drained); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) {
				switch {
				case cancel:
					fmt.Fprintf(w, "%s stays\n", args[0])
				case noWait:
					fmt.Fprintf(w, "%s drains; redoubt node list shows how far it is\n", args[0])
				default:
					fmt.Fprintf(w, "%s is drained; redoubt node remove %s takes it out\n", args[0], args[0])
				}
			})
		}),
	}
	c.Flags().BoolVar(&cancel, "cancel", false, "let the node stay; what has moved stays where it is")
	noWaitFlag(c, &noWait)
	return c
}
