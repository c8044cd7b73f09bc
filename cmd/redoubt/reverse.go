package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func reverseCommand(a *app) *cobra.Command {
	var wait bool
	c := &cobra.Command{
		Use: "reverse GROUP", Short: "replicate back to the old primary: ship what differs, then follow", Args: args("GROUP"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ReverseReplicate, &adminv1.ReverseReplicateRequest{Group: args[0]})
			if err != nil {
				return err
			}
			if wait {
				if err := a.waitInSync(c.Context(), args[0]); err != nil {
					return err
				}
			}
			return a.show(r, func(w io.Writer) {
				printReverse(w, r)
				if wait {
					fmt.Fprintf(w, "\nnext: redoubt failback %s\n", args[0])
				} else {
					fmt.Fprintf(w, "\nnext: redoubt failback %[1]s, when redoubt status %[1]s says that it is in sync\n", args[0])
				}
			})
		}),
	}
	c.Flags().BoolVar(&wait, "wait", false, "return when the old primary has everything")
	return c
}

func printReverse(w io.Writer, r *adminv1.ReverseReplicateResponse) {
	differs := iec(r.DirtyBytes)
	if r.Full {
		differs += ", a full resynchronisation"
	}
	orphan := ""
	if r.OrphanRecords > 0 {
		orphan = fmt.Sprintf("%d writes of the old primary, kept as a branch", r.OrphanRecords)
	}
	fields(w, "to", r.Peer, "histories part at", position(r.Fork), "left behind", orphan, "differs", differs)
	for _, d := range r.Disks {
		fmt.Fprintf(w, "  %s: %s in %d extents\n", d.Name, iec(d.Bytes), len(d.Extents))
	}
}

// waitInSync polls: the way back takes minutes to hours, and a stream would
// have to be resumed after every hiccup just the same. --timeout bounds each
// call, not the wait.
func (a *app) waitInSync(ctx context.Context, group string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		_, g, err := a.findGroup(ctx, group)
		if err != nil {
			return err
		}
		r := g.GetReverse()
		if r == nil {
			return &redoubt.Error{Op: "wait for reverse replication", Object: group, Err: fmt.Errorf("it ended, the group is %s: %w", g.State, redoubt.ErrState)}
		}
		if r.InSync {
			return nil
		}
		if !a.json {
			fmt.Fprintf(a.err, "%s of %s (%s)\n", iec(r.BytesCopied), iec(r.BytesToCopy), percent(r.BytesCopied, r.BytesToCopy))
		}
		select {
		case <-ctx.Done():
			return &redoubt.Error{Op: "wait for reverse replication", Object: group, Err: ctx.Err(), Hint: "it goes on; redoubt status " + group + " shows how far it is"}
		case <-tick.C:
		}
	}
}
