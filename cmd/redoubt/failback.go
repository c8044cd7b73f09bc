package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func failbackCommand(a *app) *cobra.Command {
	return groupCall(a, "failback GROUP", "move production back to the old primary, without loss",
		"Stops writes at the secondary, ships the rest, and makes the old primary the writer. It needs a running reverse replication.",
		(*admin.Client).Failback,
		func(g string) *adminv1.FailbackRequest { return &adminv1.FailbackRequest{Group: g} },
		func(w io.Writer, r *adminv1.FailbackResponse) {
			fmt.Fprintf(w, "%s writes again after %s, as epoch %d; nobody could write for %s\n", r.Writer, position(r.Position), r.Epoch, millis(r.PausedMs))
		})
}
