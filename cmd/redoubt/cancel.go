package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func cancelCommand(a *app) *cobra.Command {
	var force bool
	c := groupCall(a, "cancel GROUP", "give the group back to its source, before the commit",
		`The disks at the secondary are closed and what was written to them is thrown away; the source goes on where it stopped.

--force is for a source whose writers were stopped by a planned failover and that cannot
reach the secondary: it lets them write although the secondary may have taken over. If it
has, this host is fenced at its next contact, and what was written since is a tail that
the loss receipt lists.`,
		(*admin.Client).CancelFailover,
		func(g string) *adminv1.CancelFailoverRequest {
			return &adminv1.CancelFailoverRequest{Group: g, Force: force}
		},
		func(w io.Writer, r *adminv1.CancelFailoverResponse) {
			fmt.Fprintf(w, "cancelled: %s, %s goes on as epoch %d\n", r.State, r.Writer, r.Epoch)
		})
	c.Flags().BoolVar(&force, "force", false, "at the source: write again without the secondary's word")
	return c
}
