package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func pauseCommand(a *app) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "pause GROUP", Short: "stop shipping; the source's journal keeps what is written", Args: args("GROUP"),
		Long: `Stops replication until it is resumed, also across restarts. At the source the
disks go on being served and their writes are kept in the journal, as long as it has
room: status says how long that is. Points of before can be opened meanwhile.

Asked at the source it is in effect at once, also when the secondary cannot be reached;
that one is told at the next contact.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).PauseGroup, &adminv1.PauseGroupRequest{Group: args[0], Reason: reason})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				printOutcome(w, r.Outcome)
				if r.JournalLastsSeconds != nil {
					fmt.Fprintf(w, "the journal has room for about %s of writes\n", span(time.Duration(*r.JournalLastsSeconds*float64(time.Second))))
				}
			})
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why; status shows it")
	return c
}

func resumeCommand(a *app) *cobra.Command {
	return groupCall(a, "resume GROUP", "go on where a pause began", "", (*admin.Client).ResumeGroup,
		func(g string) *adminv1.ResumeGroupRequest { return &adminv1.ResumeGroupRequest{Group: g} },
		func(w io.Writer, r *adminv1.ResumeGroupResponse) { printOutcome(w, r.Outcome) })
}

func protectCommand(a *app) *cobra.Command {
	return groupCall(a, "protect GROUP", "replicate an unprotected group again, with a whole copy",
		`Begins replication again: a new epoch of the same group, into which the source copies
its disks whole. Points that were kept can still be opened; new ones exist when the copy
is complete.`, (*admin.Client).ProtectGroup,
		func(g string) *adminv1.ProtectGroupRequest { return &adminv1.ProtectGroupRequest{Group: g} },
		func(w io.Writer, r *adminv1.ProtectGroupResponse) { printOutcome(w, r.Outcome) })
}

func unprotectCommand(a *app) *cobra.Command {
	r := &adminv1.UnprotectGroupRequest{}
	c := &cobra.Command{
		Use: "unprotect GROUP", Short: "end replication; the disks at the source go on being served", Args: args("GROUP"),
		Long: `Ends the replication of a group. Its disks go on being served at the source, whose
journal no longer keeps anything for the secondary. The points that there are stay, and
can be opened, unless --delete-points says otherwise; "redoubt group protect" begins
again.

--delete-points is for a node of the secondary, also when the group is unprotected
already. It is refused while a hold keeps a point or a test failover is open. Once no
node has anything of them, another host may take the group's name.

--alone is for a source whose secondary is gone for good, or out of reach for long: it
does not wait for its agreement.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r.Group = args[0]
			o, err := ask(c.Context(), a, (*admin.Client).UnprotectGroup, r)
			if err != nil {
				return err
			}
			return a.show(o, func(w io.Writer) {
				printOutcome(w, o.Outcome)
				if r.DeletePoints {
					fmt.Fprintf(w, "%d segments, %s on all nodes, are being deleted: redoubt status %s\n", o.DeletedSegments, iec(o.DeletedBytes), args[0])
				}
			})
		}),
	}
	c.Flags().BoolVar(&r.DeletePoints, "delete-points", false, "delete all recovery points of the group")
	c.Flags().BoolVar(&r.Alone, "alone", false, "at a source: without the secondary's agreement")
	c.Flags().StringVar(&r.Reason, "reason", "", "why; status shows it")
	return c
}

func printOutcome(w io.Writer, o *adminv1.GroupOutcome) {
	if !o.GetAgreed() {
		fmt.Fprintf(w, "%s here, epoch %d; the secondary cannot be reached and is told at the next contact\n", o.GetState(), o.GetEpoch())
		return
	}
	fmt.Fprintf(w, "%s, epoch %d\n", o.GetState(), o.GetEpoch())
}

// standing says what operators decided about a group's replication.
func standing(g *adminv1.Group) (out []string) {
	s := g.GetStanding()
	if s.GetSince() != nil {
		line := fmt.Sprintf("%s since %s by %s", g.State, stamp(s.Since), s.By)
		if s.Reason != "" {
			line += ": " + s.Reason
		}
		out = append(out, line)
	}
	if s.GetUntold() != "" {
		out = append(out, fmt.Sprintf("the secondary has not heard of %s yet", s.Untold))
	}
	if d := s.GetDeletion(); len(d.GetNodesLeft()) > 0 {
		out = append(out, fmt.Sprintf("deleting %d segments, %s: not done yet on %v", d.Segments, iec(d.Bytes), d.NodesLeft))
	}
	if l := g.GetJournal(); l.GetLastsSeconds() > 0 && g.State == "Paused" {
		out = append(out, fmt.Sprintf("the journal has room for about %s of writes", span(time.Duration(*l.LastsSeconds*float64(time.Second)))))
	}
	return out
}

// toldElsewhere are reasons for a group's health that concerns words by itself,
// with figures.
var toldElsewhere = map[string]bool{"failed": true, "silent": true, "redundancy": true, "reverse-silent": true, "kept": true, "fenced": true}

// worries are the reasons for a group's health.
func worries(g *adminv1.Group) (out []string) {
	for _, r := range g.GetHealth().GetReasons() {
		if toldElsewhere[r.Code] {
			continue
		}
		line := fmt.Sprintf("%s: %s", strings.ToLower(r.Level), r.Text)
		if r.Hint != "" {
			line += " (" + r.Hint + ")"
		}
		out = append(out, line)
	}
	return out
}
