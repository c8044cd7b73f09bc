package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/cluster"
)

func catalogCommand(a *app) *cobra.Command {
	dump := &cobra.Command{
		Use: "dump DIR", Short: "print a JSON document for the node, its Raft meta database, and each record of the snapshots and entry of the Raft log", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error { return cluster.Dump(args[0], a.out) }),
	}
	verify := &cobra.Command{
		Use: "verify DIR", Short: "read snapshots, Raft log, its meta database and node.json and check all of them", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			r, err := cluster.Verify(args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					Dir string `json:"dir"`
					cluster.Report
				}{args[0], r})
			}
			fmt.Fprintf(a.out, "node %s in term %d: %d snapshots, %d log entries from %d to %d\n", r.Node, r.Term, r.Snapshots, r.Entries, r.FirstIndex, r.LastIndex)
			if r.TornBytes > 0 {
				fmt.Fprintf(a.out, "note: %s of a batch that was never ended are behind the last entry\n", iec(uint64(r.TornBytes)))
			}
			return nil
		}),
	}
	return parent("catalog", "read a master target's copy of the catalog offline", dump, verify)
}
