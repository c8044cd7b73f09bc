package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func branchCommand(a *app) *cobra.Command {
	return parent("branch", "what failovers left behind: the old primary's last writes, and abandoned stretches of the history",
		branchListCommand(a), branchDropCommand(a))
}

func branchListCommand(a *app) *cobra.Command {
	return groupCall(a, "list GROUP", "branches of a group",
		`A branch of the source holds the writes that only the old primary had. It is opened with
redoubt failover test GROUP --branch ID, and written into a file with
redoubt export --to FILE GROUP/DISK --branch ID. A branch in the history is opened like any
point, with --at ID.`,
		(*admin.Client).ListBranches,
		func(g string) *adminv1.ListBranchesRequest { return &adminv1.ListBranchesRequest{Group: g} },
		func(w io.Writer, r *adminv1.ListBranchesResponse) {
			t := newTable(w, "ID", "KEPT BY", "EPOCH", "AFTER", "UP TO", "WRITES", "BYTES", "FROM", "TO")
			for _, b := range r.Branches {
				t.row(b.Id, b.KeptBy, number(b.Epoch), number(b.AfterLsn), number(b.HeadLsn), number(b.Records), iec(b.Bytes), stamp(b.FirstTime), stamp(b.LastTime))
			}
			t.flush()
			if r.SourceError != "" {
				fmt.Fprintln(w, "the branches at the source are not listed:", r.SourceError)
			}
		})
}

func branchDropCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "drop GROUP ID", Short: "delete a branch that the source keeps, for good", Args: args("GROUP", "ID"),
		Long: "A branch in the history ages and goes by the group's retention policy.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).DropBranch, &adminv1.DropBranchRequest{Group: args[0], Id: args[1]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "dropped %s: %d writes, %s\n", r.GetDropped().GetId(), r.GetDropped().GetRecords(), iec(r.GetDropped().GetBytes()))
			})
		}),
	}
}
