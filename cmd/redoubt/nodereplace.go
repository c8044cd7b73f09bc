package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func nodeReplaceCommand(a *app) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "replace OLD NEW", Short: "move everything of a live or dead node to another, and remove it", Args: args("OLD", "NEW"),
		Long: `Every shard of OLD gets NEW as its home: copied from OLD if it lives, computed
from the other nodes if not. NEW is an active node, as a rule one that was just
added. In the end OLD is removed.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if args[0] == args[1] {
				return usage(c, "the node that leaves, and another that takes over, such as one that was just added: redoubt node add NAME", "%s cannot be replaced by itself", args[0])
			}
			r, err := ask(c.Context(), a, (*admin.Client).ReplaceNode, &adminv1.ReplaceNodeRequest{Old: args[0], With: args[1]})
			if err != nil {
				return err
			}
			if !noWait {
				if _, err = a.waitNode(c.Context(), args[0], gone); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) {
				if noWait {
					fmt.Fprintf(w, "%s takes over from %s; redoubt node list shows how far it is\n", args[1], args[0])
				} else {
					fmt.Fprintf(w, "%s took over from %s, which is removed\n", args[1], args[0])
				}
			})
		}),
	}
	noWaitFlag(c, &noWait)
	return c
}
