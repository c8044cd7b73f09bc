package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func commitCommand(a *app) *cobra.Command {
	var group string
	return groupCall(a, "commit GROUP", "make the failed-over point final", "After it no other point can be chosen, and reverse replication may start.",
		(*admin.Client).CommitFailover,
		func(g string) *adminv1.CommitFailoverRequest {
			group = g
			return &adminv1.CommitFailoverRequest{Group: g}
		},
		func(w io.Writer, r *adminv1.CommitFailoverResponse) {
			fmt.Fprintf(w, "committed %s as epoch %d\n", position(r.Position), r.Epoch)
			fmt.Fprintf(w, "\nnext: redoubt reverse %s --wait, when the old primary is back; after a planned failover it begins by itself\n", group)
		})
}
