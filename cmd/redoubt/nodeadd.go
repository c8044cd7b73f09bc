package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func nodeAddCommand(a *app) *cobra.Command {
	var noWait bool
	c := &cobra.Command{
		Use: "add NAME", Short: "let a new node join", Args: args("NAME"),
		Long: `Lets a node of this name join. Give it a certificate (redoubt ca issue --role
target --name NAME) and a configuration with target.join, and start it: before
or after this command. It gets shards and groups when it has caught up.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).AddNode, &adminv1.AddNodeRequest{Name: args[0]})
			if err != nil {
				return err
			}
			if !noWait {
				r.Node, err = a.waitNode(c.Context(), args[0], func(n *adminv1.ClusterNode) (bool, string) {
					switch n.GetState() {
					case "active":
						return true, ""
					case "invited":
						return false, "waiting for it to come: start redoubtd there, with target.join"
					}
					return false, "catching up"
				})
				if err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintf(w, "%s is %s\n", args[0], r.GetNode().GetState()) })
		}),
	}
	noWaitFlag(c, &noWait)
	return c
}

func noWaitFlag(c *cobra.Command, v *bool) {
	c.Flags().BoolVar(v, "no-wait", false, "return when it is agreed, not when it is done")
}
