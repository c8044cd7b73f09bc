package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// watchStatus shows rates between two looks. It goes on when the node does not
// answer: that is when an operator watches most closely.
func (a *app) watchStatus(ctx context.Context, group string, every time.Duration, count int) error {
	tick := time.NewTicker(max(every, 100*time.Millisecond))
	defer tick.Stop()
	f, ok := a.out.(*os.File)
	show := a.appendRows()
	switch {
	case a.json:
		show = func(st *adminv1.GetStatusResponse) error { return a.printMessage(st) }
	case ok && isTerminal(f):
		show = a.redraw()
	}
	var old *adminv1.GetStatusResponse
	for n := 1; ; n++ {
		st, err := ask(ctx, a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{Group: group})
		if err == nil {
			fillRates(old, st)
			old = st
			err = show(st)
		}
		if err != nil && ctx.Err() == nil {
			a.finish(ctx, err)
		}
		if n == count {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// redraw draws each look over the one before. What is old is wiped line by
// line, so that nothing flickers.
func (a *app) redraw() func(*adminv1.GetStatusResponse) error {
	fmt.Fprint(a.out, "\x1b[2J")
	return func(st *adminv1.GetStatusResponse) error {
		var b bytes.Buffer
		printWatch(&b, st)
		_, err := io.WriteString(a.out, "\x1b[H"+strings.ReplaceAll(b.String(), "\n", "\x1b[K\n")+"\x1b[J")
		return err
	}
}

func printWatch(w io.Writer, st *adminv1.GetStatusResponse) {
	n := st.GetNode()
	fmt.Fprintf(w, "%s (%s), version %s, up %s\n\n", n.GetName(), strings.Join(n.GetRoles(), " and "), n.GetVersion(), age(n.GetNow(), n.GetStarted()))
	t := newTable(w, "GROUP", "ROLE", "STATE", "JOURNAL", "LAG", "UNSHIPPED", "UNAPPLIED", "COMMIT/S", "RECORDS", "SYNC P99", "SHIPPED", "LINK")
	for _, g := range st.Groups {
		t.row(append([]string{g.Id, g.Role, g.State, fill(g.GetJournal(), " of "), lag(g.LagSeconds)}, groupCells(g)...)...)
	}
	t.flush()
	t = nil // where no disk is served, there is no table
	for _, g := range st.Groups {
		for _, d := range g.Disks {
			if d.GetFigures() == nil {
				continue
			}
			if t == nil {
				fmt.Fprintln(w)
				t = newTable(w, append([]string{"DISK", "CLIENTS"}, rateHeads...)...)
			}
			t.row(append([]string{g.Id + "/" + d.Name, fmt.Sprint(d.Clients)}, rateCells(d.GetFigures().GetRates())...)...)
		}
	}
	if t != nil {
		t.flush()
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
	}
}

var rateHeads = []string{"READ/S", "MiB/S", "P99", "WRITE/S", "MiB/S", "P99", "FLUSH/S", "P99"}

// rateCells says "-" for what is not known yet.
func rateCells(r *adminv1.DiskRates) []string {
	if r == nil {
		return make([]string, len(rateHeads))
	}
	mib := func(bytes float64) string { return fmt.Sprintf("%.1f", bytes/(1<<20)) }
	return []string{
		rate(r.Reads), mib(r.ReadBytes), latency(r.ReadP99Seconds),
		rate(r.Writes), mib(r.WriteBytes), latency(r.WriteP99Seconds), rate(r.Flushes), latency(r.FlushP99Seconds),
	}
}

// groupCells are those from UNSHIPPED to LINK. SHIPPED is what goes over the
// wire, LINK what the link could take.
func groupCells(g *adminv1.Group) []string {
	out := make([]string, 7)
	ship := g.GetLink().GetFigures()
	if r := g.GetReverse().GetFigures(); r != nil {
		ship = r // the one that an operator waits for
	}
	if ship != nil {
		out[0] = fmt.Sprint(ship.LagWrites)
		if r := ship.Rates; r != nil {
			out[5] = iec(uint64(r.WireBytes)) + "/s"
		}
		out[6] = ship.Codec
		if ship.LinkBytesPerSecond > 0 {
			out[6] = iec(uint64(ship.LinkBytesPerSecond)) + "/s " + ship.Codec
		}
	}
	if f := g.GetFigures(); f != nil {
		out[1] = iec(f.UnappliedBytes)
		if f.UnappliedWrites > 0 {
			out[1] += " " + lag(&f.UnappliedSeconds)
		}
	}
	if r := g.GetJournal().GetFigures().GetRates(); r != nil {
		out[2], out[4] = rate(r.Commits), latency(r.FdatasyncP99Seconds)
		if r.Commits > 0 {
			out[3] = fmt.Sprintf("%.1f", r.RecordsPerCommit)
		}
	}
	return out
}

// fill writes how full a journal is; with of also of how much.
func fill(j *adminv1.Journal, of string) string {
	switch {
	case j == nil:
		return ""
	case of == "":
		return strings.ReplaceAll(percent(j.UsedBytes, j.MaxBytes), " ", "")
	}
	return percent(j.UsedBytes, j.MaxBytes) + of + iec(j.MaxBytes)
}

// rate writes a number a second: "0", "0.4", "1234".
func rate(v float64) string {
	if v > 0 && v < 9.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// latency writes a number of seconds with three digits: "812us", "1.25ms".
func latency(s *float64) string {
	if s == nil {
		return ""
	}
	us := *s * 1e6
	switch {
	case us < 999.5:
		return fmt.Sprintf("%.3gus", us)
	case us < 999.5e3:
		return fmt.Sprintf("%.3gms", us/1e3)
	}
	return fmt.Sprintf("%.3gs", us/1e6)
}

// appendRows prints a line for each disk at each look, under one head, and one
// for a group whose disks are not served here.
func (a *app) appendRows() func(*adminv1.GetStatusResponse) error {
	heads := append(append([]string{"TIME", "DISK"}, rateHeads...), "JOURNAL", "LAG", "UNSHIPPED")
	started := false
	return func(st *adminv1.GetStatusResponse) error {
		var b bytes.Buffer
		if !started {
			line(&b, heads)
			started = true
		}
		at := st.GetNode().GetNow().AsTime().Format(time.TimeOnly)
		for _, g := range st.Groups {
			tail := []string{fill(g.GetJournal(), ""), lag(g.LagSeconds), groupCells(g)[0]}
			served := false
			for _, d := range g.Disks {
				if f := d.GetFigures(); f != nil {
					served = true
					line(&b, append(append([]string{at, g.Id + "/" + d.Name}, rateCells(f.Rates)...), tail...))
				}
			}
			if !served {
				line(&b, append(append([]string{at, g.Id}, rateCells(nil)...), tail...))
			}
			if g.Error != "" {
				fmt.Fprintf(&b, "%s  %s: FAILED: %s\n", at, g.Id, g.Error)
			}
			if l := g.GetLink(); l != nil && !l.Connected {
				fmt.Fprintf(&b, "%s  %s: no contact with %s\n", at, g.Id, otherSide(g))
			}
		}
		_, err := b.WriteTo(a.out)
		return err
	}
}

// line writes cells in columns of fixed width: the lines to come are not known.
func line(w io.Writer, cells []string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		switch i {
		case 0:
			fmt.Fprintf(w, "%-8s", c)
		case 1:
			fmt.Fprintf(w, "  %-16s", c)
		default:
			fmt.Fprintf(w, " %8s", c)
		}
	}
	fmt.Fprintln(w)
}
