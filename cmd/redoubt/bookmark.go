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

func bookmarkCommand(a *app) *cobra.Command {
	var app, orCrash bool
	var groups []string
	var hold time.Duration
	c := &cobra.Command{
		Use: "bookmark GROUP NAME", Short: "name the present moment as a recovery point",
		Args: func(c *cobra.Command, given []string) error {
			if len(groups) > 0 {
				return args("NAME")(c, given)
			}
			return args("GROUP", "NAME")(c, given)
		},
		Long: `Names the present moment as a recovery point: at the host whose disks are protected.

With --app the hooks of the group's configuration bring file systems and applications to rest
first, and let them go on right after: the point is application-consistent, and latest-app finds
it. If a hook fails there is no bookmark, unless --or-crash says that a crash-consistent one will
do. Everything is let go on whatever happens.

With --groups A,B,C it names one instant of several groups, also of several hosts, and is asked of
a master target: writes of all of them are held back for a moment (--hold at most) while each gets
its bookmark. A write that was begun after another one was acknowledged is in no group's point
without the other in its own. It is all of them or none.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			kind := adminv1.BookmarkKind_BOOKMARK_KIND_CRASH
			switch {
			case app && orCrash:
				kind = adminv1.BookmarkKind_BOOKMARK_KIND_APP_OR_CRASH
			case app:
				kind = adminv1.BookmarkKind_BOOKMARK_KIND_APP
			case orCrash:
				return usage(c, "it says what to do if --app fails", "--or-crash without --app")
			}
			if len(groups) > 0 {
				if orCrash {
					return usage(c, "a set is all of one kind", "--or-crash with --groups")
				}
				return a.bookmarkSet(c.Context(), groups, args[0], app, hold)
			}
			return a.bookmark(c.Context(), args[0], args[1], kind)
		}),
	}
	c.Flags().BoolVar(&app, "app", false, "application-consistent: with the group's freeze hooks")
	c.Flags().StringSliceVar(&groups, "groups", nil, "one instant of these groups, in place of GROUP")
	c.Flags().DurationVar(&hold, "hold", 2*time.Second, "with --groups: writes are held back for so long at most, up to 10s")
	c.Flags().BoolVar(&orCrash, "or-crash", false, "with --app: if a hook fails, take a crash-consistent bookmark and say so")
	return c
}

func (a *app) bookmark(ctx context.Context, group, name string, kind adminv1.BookmarkKind) error {
	if err := redoubt.ValidName("bookmark", name); err != nil {
		return err
	}
	r, err := ask(ctx, a, (*admin.Client).AddBookmark, &adminv1.AddBookmarkRequest{Group: group, Name: name, Kind: kind})
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { printBookmark(w, name, r) })
}

func printBookmark(w io.Writer, name string, r *adminv1.AddBookmarkResponse) {
	fmt.Fprintf(w, "%s is %s, %s, %s-consistent\n", name, position(r.Position), stamp(r.Time), consistency(r.AppConsistent))
	if r.WhyNot != "" {
		fmt.Fprintf(w, "not application-consistent: %s\n", r.WhyNot)
	}
	if r.Frozen != nil {
		fmt.Fprintf(w, "frozen for %s\n\n", millis(uint64(r.Frozen.AsDuration().Milliseconds())))
		printSteps(w, r.Steps)
	}
	if r.NotThawed != "" {
		fmt.Fprintf(w, "NOT THAWED: %s\n", r.NotThawed)
	}
}

func printSteps(w io.Writer, steps []*adminv1.HookStep) {
	t := newTable(w, "STEP", "TOOK", "ERROR")
	for _, s := range steps {
		t.row(s.What, millis(uint64(s.Took.AsDuration().Milliseconds())), s.Error)
	}
	t.flush()
}

func consistency(app bool) string {
	if app {
		return "application"
	}
	return "crash"
}

func (a *app) listBookmarks(ctx context.Context, group string, limit uint32) error {
	r, err := ask(ctx, a, (*admin.Client).ListBookmarks, &adminv1.ListBookmarksRequest{Group: group, Limit: limit})
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { printBookmarks(w, r) })
}

func printBookmarks(w io.Writer, r *adminv1.ListBookmarksResponse) {
	if len(r.Bookmarks) == 0 {
		fmt.Fprintln(w, "no bookmark is kept")
		return
	}
	t := newTable(w, "BOOKMARK", "POINT", "TIME", "CONSISTENCY", "SET")
	for _, b := range r.Bookmarks {
		t.row(b.Name, position(&adminv1.Position{Epoch: b.Epoch, Lsn: b.Lsn}), stamp(b.Time), consistency(b.AppConsistent), b.Set)
	}
	t.flush()
	if r.Truncated {
		fmt.Fprintln(w, "… and more: --limit")
	}
}
