package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// bookmarkSet names one instant of several groups.
func (a *app) bookmarkSet(ctx context.Context, groups []string, name string, atRest bool, hold time.Duration) error {
	if err := redoubt.ValidName("bookmark", name); err != nil {
		return err
	}
	r, err := ask(ctx, a, (*admin.Client).AddBookmarkSet, &adminv1.AddBookmarkSetRequest{Groups: groups, Name: name, App: atRest, Hold: durationpb.New(hold)})
	if err != nil {
		return err
	}
	return a.show(r, func(w io.Writer) { printBookmarkSet(w, name, r) })
}

func printBookmarkSet(w io.Writer, name string, r *adminv1.AddBookmarkSetResponse) {
	fmt.Fprintf(w, "%s is one instant of %d groups, %s, %s-consistent; the barrier took %s\n\n", name, len(r.Members), stamp(r.Time), consistency(r.AppConsistent), r.Barrier.AsDuration().Round(10*time.Microsecond))
	t := newTable(w, "GROUP", "POINT", "WRITES HELD", "FROZEN", "NOT THAWED")
	for _, m := range r.Members {
		frozen := ""
		if m.Frozen != nil {
			frozen = m.Frozen.AsDuration().Round(10 * time.Microsecond).String()
		}
		t.row(m.Group, position(&adminv1.Position{Epoch: m.Epoch, Lsn: m.Lsn}), m.Held.AsDuration().Round(10*time.Microsecond).String(), frozen, m.NotThawed)
	}
	t.flush()
}
