package main

import (
	"fmt"
	"io"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// overflowNotes says what a full journal has led to, or soon will.
func overflowNotes(g *adminv1.Group) (out []string) {
	if o := g.GetOverflow(); o != nil {
		out = append(out, fmt.Sprintf("journal overflowed after LSN %d (%s), up to LSN %d: %s to catch up; older points stay usable",
			o.AfterLsn, stamp(o.Since), o.UpToLsn, iec(o.DirtyBytes)))
	}
	if p := g.GetGap(); p != nil {
		out = append(out, fmt.Sprintf("%s: no recovery point after %d:%d (%s) until the secondary has caught up; older points stay usable",
			p.Cause, p.Epoch, p.AfterLsn, stamp(p.Since)))
	}
	// An eighth of room is left: what comes next is failed writes.
	if j := g.GetJournal(); g.Role == "source" && !g.ReadOnly && j.GetHoldsBack() && j.MaxBytes > 0 && j.UsedBytes > j.MaxBytes/8*7 {
		out = append(out, fmt.Sprintf("CRITICAL: the journal is almost full (%s of %s): writes will be held back for %s and then fail",
			iec(j.UsedBytes), iec(j.MaxBytes), time.Duration(j.FullWaitNs)),
			"hint: reconnect the secondary, raise journal.max, or set journal.on_full: track")
	}
	return out
}

// printGaps lists the stretches without points.
func printGaps(w io.Writer, gaps []*adminv1.Gap) {
	if len(gaps) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "NO POINTS AFTER", "SINCE", "UNTIL", "AT", "BECAUSE OF")
	for _, g := range gaps {
		until, when := "not caught up yet", ""
		if g.WholeLsn != 0 {
			until, when = fmt.Sprintf("%d:%d", g.Epoch, g.WholeLsn), stamp(g.Until)
		}
		t.row(fmt.Sprintf("%d:%d", g.Epoch, g.AfterLsn), stamp(g.Since), until, when, g.Cause)
	}
	t.flush()
}
