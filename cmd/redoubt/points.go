package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func pointsCommand(a *app) *cobra.Command {
	var limit uint32
	var around string
	var bookmarks bool
	c := &cobra.Command{
		Use: "points GROUP", Short: "recovery points of a group", Args: args("GROUP"),
		Long: "Lists stretches of writes that were made safe together, the newest first. Every write of a stretch can be opened: --at EPOCH:LSN, or any time. Where retention has thinned the history, single points are left; GAP is the time to the point before, KEPT FOR the tier or pin that keeps it. DISKS names the disks of points that have others than the group has now. Below are stretches without points, such as after an overflow of the source's journal, and what each tier holds.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if limit == 0 {
				return usage(c, "leave it out for the default of 20", "--limit 0 lists nothing")
			}
			if bookmarks {
				return a.listBookmarks(c.Context(), args[0], limit)
			}
			req := &adminv1.ListPointsRequest{Group: args[0], Limit: limit}
			if around != "" {
				t, err := time.Parse(time.RFC3339Nano, around)
				if err != nil {
					return &redoubt.Error{Op: "parse time", Object: around, Err: redoubt.ErrInvalid, Hint: "an RFC 3339 time such as 2026-11-22T22:15:03Z"}
				}
				req.Around = timestamppb.New(t)
			}
			r, err := ask(c.Context(), a, (*admin.Client).ListPoints, req)
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printPoints(w, r) })
		}),
	}
	c.Flags().Uint32VarP(&limit, "limit", "n", 20, "how many")
	c.Flags().BoolVar(&bookmarks, "bookmarks", false, "list the bookmarks, each of them")
	c.Flags().StringVar(&around, "around", "", "nearest to this time instead of the newest")
	return c
}

func printPoints(w io.Writer, r *adminv1.ListPointsResponse) {
	if r.Latest == nil {
		fmt.Fprintln(w, "no recovery point yet")
		return
	}
	fmt.Fprintf(w, "any write from %s (%s) to %s (%s)\n\n", position(r.Earliest.GetPosition()), stamp(r.Earliest.GetTime()), position(r.Latest.Position), stamp(r.Latest.Time))
	columns := []string{"POINT", "TIME", "FROM LSN", "SPAN", "GAP", "STORED", "DEGRADED", "KEPT FOR", "BOOKMARK", "CHECKED"}
	others := slices.ContainsFunc(r.Points, func(p *adminv1.Point) bool { return len(p.Disks) > 0 })
	if others {
		columns = append(columns, "DISKS")
	}
	t := newTable(w, columns...)
	for i, p := range r.Points {
		gap := ""
		if i+1 < len(r.Points) {
			gap = age(p.FirstTime, r.Points[i+1].Time)
		}
		cells := []string{position(p.Position), stamp(p.Time), number(p.FirstLsn), age(p.Time, p.FirstTime), gap, iec(p.StoredBytes), yes(p.Degraded), p.Tier, bookmarkName(p), p.Checked}
		if others {
			cells = append(cells, pointDisks(p))
		}
		t.row(cells...)
	}
	t.flush()
	printGaps(w, r.Gaps)
	fmt.Fprintln(w)
	printTiers(w, r.Tiers)
	if r.Truncated {
		fmt.Fprintln(w, "… and more: --limit, --around")
	}
}

// pointDisks names the disks of a point that are not the group's of now.
func pointDisks(p *adminv1.Point) string {
	var names []string
	for _, d := range p.Disks {
		if d.Earlier {
			names = append(names, d.Name+" (an earlier one)")
		} else {
			names = append(names, d.Name)
		}
	}
	return strings.Join(names, ", ")
}

// bookmarkName says the newest bookmark of a stretch, and if it is more than
// crash-consistent.
func bookmarkName(p *adminv1.Point) string {
	if p.BookmarkApp {
		return p.Bookmark + " (app)"
	}
	return p.Bookmark
}
