package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func groupCommand(a *app) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "the node's protection groups", Args: args(),
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			st, err := ask(c.Context(), a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{})
			if err != nil {
				return err
			}
			return a.show(st, func(w io.Writer) { printGroups(w, st) })
		}),
	}
	show := &cobra.Command{
		Use: "show GROUP", Short: "everything about one group", Args: args("GROUP"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			st, g, err := a.findGroup(c.Context(), args[0])
			if err != nil {
				return err
			}
			return a.show(g, func(w io.Writer) { printGroup(w, st.GetNode(), g) })
		}),
	}
	return parent("group", "protection groups", list, show, pauseCommand(a), resumeCommand(a), unprotectCommand(a), protectCommand(a))
}

func printGroup(w io.Writer, n *adminv1.NodeInfo, g *adminv1.Group) {
	fields(w,
		"group", g.Id+" ("+g.Uuid+"), seen as "+g.Role,
		"state", g.State,
		"health", g.GetHealth().GetLevel(),
		"allowed now", strings.Join(g.AllowedOperations, ", "),
		"epoch", number(g.Epoch),
		"lineage", lineage(g.Lineage),
		"writer", g.Writer,
		"owner", g.Owner,
		"source", strings.TrimSpace(g.Source+" "+g.SourceAddress),
		"head", join(position(g.Head), stamp(g.HeadTime)),
		"durable", number(g.DurableLsn),
		"applied", number(g.AppliedLsn),
		"safe at secondary", join(position(g.Committed), stamp(g.CommittedTime)),
		"lag", lag(g.LagSeconds),
		"whole from LSN", number(g.BaselineLsn),
		"journal", journalUse(g.Journal),
		"link", link(g.Link),
		"redundancy", redundancy(g.Redundancy),
		"promoted", promotion(g.Promotion),
		"loss receipt", receiptNote(g),
	)
	for _, line := range concerns(n, g) {
		fmt.Fprintln(w, line)
	}
	if len(g.Disks) > 0 {
		fmt.Fprintln(w)
		printDisks(w, g.Disks)
	}
}

func lineage(fs []*adminv1.Fork) string {
	var out []string
	for _, f := range fs {
		if f.Parent == 0 {
			out = append(out, fmt.Sprintf("epoch %d", f.Epoch))
		} else {
			out = append(out, fmt.Sprintf("epoch %d from %d:%d", f.Epoch, f.Parent, f.At))
		}
	}
	return strings.Join(out, ", ")
}

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ", ")
}

func journalUse(j *adminv1.Journal) string {
	if j == nil {
		return ""
	}
	return fmt.Sprintf("%s of %s, from LSN %d", iec(j.UsedBytes), iec(j.MaxBytes), j.TailLsn)
}

func link(l *adminv1.Link) string {
	if l == nil || !l.Connected {
		return ""
	}
	return fmt.Sprintf("%s, %s sent as %s", l.Peer, iec(l.RawBytes), iec(l.WireBytes))
}

func redundancy(r *adminv1.Redundancy) string {
	if r == nil {
		return ""
	}
	return fmt.Sprintf("%d+%d, %d segments, %s stored", r.Data, r.Parity, r.Segments, iec(r.StoredBytes))
}

func promotion(p *adminv1.Promotion) string {
	if p == nil {
		return ""
	}
	state := "not committed"
	if p.Committed {
		state = "committed"
	}
	at := position(p.Position)
	if p.PointTime != nil {
		at += " (" + stamp(p.PointTime) + ")"
	}
	return fmt.Sprintf("%s as epoch %d on %s, %s", at, p.Epoch, p.Node, state)
}

func receiptNote(g *adminv1.Group) string {
	if !g.HasLossReceipt {
		return ""
	}
	return "redoubt failover receipt " + g.Id
}
