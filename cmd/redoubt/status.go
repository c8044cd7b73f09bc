package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func statusCommand(a *app) *cobra.Command {
	var watch bool
	var every time.Duration
	var count int
	c := &cobra.Command{
		Use: "status [GROUP]", Short: "the node, its groups and the cluster", Args: args("[GROUP]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if !watch {
				return a.status(c.Context(), optional(args, 0))
			}
			return a.watchStatus(c.Context(), optional(args, 0), every, count)
		}),
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show rates between two looks, until interrupted")
	c.Flags().DurationVar(&every, "every", time.Second, "how often, with --watch")
	c.Flags().IntVar(&count, "count", 0, "end after so many looks, with --watch; 0: never")
	return c
}

func (a *app) status(ctx context.Context, group string) error {
	st, err := ask(ctx, a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{Group: group})
	if err != nil {
		return err
	}
	return a.show(st, func(w io.Writer) { printStatus(w, st) })
}

func printStatus(w io.Writer, st *adminv1.GetStatusResponse) {
	n := st.GetNode()
	fmt.Fprintf(w, "%s (%s), version %s, up %s\n", n.GetName(), strings.Join(n.GetRoles(), " and "), n.GetVersion(), age(n.GetNow(), n.GetStarted()))
	if len(st.Groups) > 0 {
		fmt.Fprintln(w)
		printGroups(w, st)
	}
	for _, g := range st.Groups {
		for _, line := range concerns(n, g) {
			fmt.Fprintf(w, "%s: %s\n", g.Id, line)
		}
	}
	for _, line := range nodeConcerns(st.GetHealing()) {
		fmt.Fprintln(w, line)
	}
	if len(st.Cluster) > 0 {
		fmt.Fprintln(w)
		printNodes(w, st)
	} else if slices.Contains(n.GetRoles(), "target") {
		fmt.Fprintln(w)
		printNodes(w, st)
	}
}

func printGroups(w io.Writer, st *adminv1.GetStatusResponse) {
	t := newTable(w, "GROUP", "ROLE", "STATE", "HEALTH", "EPOCH", "WRITER", "OWNER", "HEAD", "SAFE", "LAG", "JOURNAL")
	for _, g := range st.Groups {
		journal := ""
		if j := g.GetJournal(); j != nil {
			journal = iec(j.UsedBytes) + " of " + iec(j.MaxBytes)
		}
		t.row(g.Id, g.Role, g.State, g.GetHealth().GetLevel(), number(g.Epoch), g.Writer, g.Owner, position(g.Head), position(g.Committed), lag(g.LagSeconds), journal)
	}
	t.flush()
}

// concerns says what an operator should know about a group beyond its row.
func concerns(n *adminv1.NodeInfo, g *adminv1.Group) []string {
	var out []string
	add := func(format string, v ...any) { out = append(out, fmt.Sprintf(format, v...)) }
	out = append(append(out, worries(g)...), standing(g)...)
	if g.Error != "" {
		add("FAILED: %s", g.Error)
		if g.Hint != "" {
			add("hint: %s", g.Hint)
		}
	}
	if j := g.GetJob(); j != nil {
		add("%s", jobLine(j))
		if j.Hint != "" {
			add("hint: %s", j.Hint)
		}
	}
	out = append(out, overflowNotes(g)...)
	if g.ResyncReason != "" {
		add("RESYNCHRONISATION NEEDED: %s; nothing new is safe: redoubt resync %s (at the secondary)", g.ResyncReason, g.Id)
	}
	if c := g.GetCopy(); c.GetComparing() && !c.Complete {
		add("resynchronising, %s of %s compared (%s), %s differed; earlier recovery points stay", iec(c.DoneBytes), iec(c.TotalBytes), percent(c.DoneBytes, c.TotalBytes), iec(c.DifferingBytes))
	} else if c != nil && !c.Complete && c.TotalBytes == 0 {
		add("copying, nothing copied yet; no recovery point yet")
	} else if c != nil && !c.Complete {
		add("copying, %s of %s (%s); no recovery point yet", iec(c.DoneBytes), iec(c.TotalBytes), percent(c.DoneBytes, c.TotalBytes))
	}
	if l := g.GetLink(); l != nil && !l.Connected {
		seen := "never seen"
		if l.LastContact != nil {
			seen = "last contact " + age(n.GetNow(), l.LastContact) + " ago"
		}
		add("no contact with %s, %s", otherSide(g), seen)
		if l.LastError != "" {
			add("last error: %s", l.LastError)
		}
	}
	if r := g.GetReverse(); r != nil {
		if r.InSync {
			add("reverse replication to %s is in sync: redoubt failback %s is short", r.Peer, g.Id)
		} else {
			add("reverse replication to %s, %s of %s (%s)", r.Peer, iec(r.BytesCopied), iec(r.BytesToCopy), percent(r.BytesCopied, r.BytesToCopy))
		}
	}
	if b := g.GetBookmarks(); b.GetFrozenSince() != nil {
		add("frozen for a bookmark for %s", age(n.GetNow(), b.FrozenSince))
	} else if b.GetError() != "" {
		add("last bookmark: %s", b.Error)
	}
	if c := g.GetLastCheck(); c != nil && !c.Passed {
		add("the last recovery check FAILED: %s, of %s; redoubt check receipt %s", c.Script, position(&adminv1.Position{Epoch: c.Epoch, Lsn: c.Lsn}), g.Id)
	}
	if g.ReadOnly {
		add("read-only: %s", g.ReadOnlyReason)
	}
	if r := g.GetRedundancy(); r != nil && r.DegradedSegments > 0 {
		add("degraded: %d of %d segments have fewer than %d+%d shards", r.DegradedSegments, r.Segments, r.Data, r.Parity)
		if r.BareSegments > 0 {
			add("%d of these would not outlive the loss of another shard", r.BareSegments)
		}
	}
	if note := keptNote(g.GetJournal(), g.GetCommitted().GetLsn()); note != "" && g.Role == "source" && g.GetJournal().GetWholeLsn() > 0 {
		add("%s", note)
	}
	if v := g.GetVerify(); v.GetRunning() || v.GetError() != "" || v.GetLast().GetDifferingBlocks() > 0 {
		add("verification: %s", verifyNote(v, n.GetNow().AsTime()))
	}
	return out
}

func otherSide(g *adminv1.Group) string {
	switch {
	case g.GetLink().GetPeer() != "":
		return g.GetLink().GetPeer()
	case g.Role == "target":
		return "the source"
	}
	return "the secondary"
}
