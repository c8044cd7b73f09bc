package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func cancelCommand(a *app) *cobra.Command {
	return groupCall(a, "cancel GROUP", "give the group back to its source, before the commit",
		"The disks at the secondary are closed and what was written to them is thrown away; the source goes on where it stopped.",
		(*admin.Client).CancelFailover,
		func(g string) *adminv1.CancelFailoverRequest { return &adminv1.CancelFailoverRequest{Group: g} },
		func(w io.Writer, r *adminv1.CancelFailoverResponse) {
			fmt.Fprintf(w, "cancelled: %s, %s goes on as epoch %d\n", r.State, r.Writer, r.Epoch)
		})
}
