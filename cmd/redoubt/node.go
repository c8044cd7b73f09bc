package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func nodeCommand(a *app) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "master targets of the cluster", Args: args(),
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			st, err := ask(c.Context(), a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			only := &adminv1.GetStatusResponse{Node: st.Node, Cluster: st.Cluster}
			return a.show(only, func(w io.Writer) { printNodes(w, only) })
		}),
	}
	return parent("node", "master targets: the nodes of the secondary site", list,
		nodeAddCommand(a), nodeDrainCommand(a), nodeReplaceCommand(a), nodeRemoveCommand(a), scrubCommand(a))
}

func printNodes(w io.Writer, st *adminv1.GetStatusResponse) {
	if n := st.GetNode(); len(st.Cluster) == 0 && slices.Contains(n.GetRoles(), "target") {
		fmt.Fprintf(w, "in no cluster yet. With target.bootstrap: start redoubtd on the other founders. With target.join, at a member: redoubt node add %s\n", n.GetName())
		return
	}
	t := newTable(w, "NODE", "STATE", "DOMAIN", "ADDRESS", "ALIVE", "ROLE", "CONTACT", "RAFT INDEX", "SHARDS", "STORED", "OWNS")
	for _, n := range st.Cluster {
		alive, role := "NO", "" // a dead leader is none, whatever it said last
		if n.Alive {
			alive, role = "yes", n.Role
		}
		name, contact := n.Id, age(st.GetNode().GetNow(), n.LastContact)
		if n.Self {
			name, contact = name+" *", ""
		}
		state := n.State
		if n.Failed != "" {
			state += ", FAILED"
		}
		t.row(name, state, n.Domain, n.Address, alive, role, contact, number(n.RaftIndex), number(n.Shards), iec(n.ShardBytes), strings.Join(n.Groups, ", "))
	}
	t.flush()
	for _, n := range st.Cluster {
		if n.Failed != "" {
			owns := "owns no groups"
			if len(n.Groups) > 0 {
				owns = strings.Join(n.Groups, ", ") + " goes to another node as soon as one can own it"
			}
			fmt.Fprintf(w, "%s: FAILED, it takes no shards, %s: %s\n", n.Id, owns, n.Failed)
			fmt.Fprintf(w, "%s: hint: %s\n", n.Id, n.FailedHint)
		}
	}
}
