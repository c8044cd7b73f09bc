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

func scrubCommand(a *app) *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use: "scrub [NODE]", Short: "how far a master target has verified and repaired what it stores", Args: args("[NODE]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).Scrub, &adminv1.ScrubRequest{Node: optional(args, 0), Now: now})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printScrub(w, r, now) })
		}),
	}
	c.Flags().BoolVar(&now, "now", false, "begin a pass at once; one that is under way begins again")
	return c
}

func printScrub(w io.Writer, r *adminv1.ScrubResponse, asked bool) {
	c := r.GetScrub()
	if asked {
		fmt.Fprintf(w, "%s begins a scrub of %s\n", r.Node, iec(c.GetTotalBytes()))
		return
	}
	fields(w, "node", r.Node, "scrub", scrubLine(c), "found", findings(c.GetFound()), "pass before", passBefore(c), "repair", repairLine(r.GetRepair()))
}

// scrubLine says what the scrub does now.
func scrubLine(c *adminv1.Scrub) string {
	if c.GetRate() == 0 {
		return "switched off (target.scrub.rate)"
	}
	pace := fmt.Sprintf("at most %s/s, a pass takes %s, one every %s", iec(c.Rate), seconds(c.GetPassSeconds()), seconds(c.IntervalSeconds))
	switch {
	case c.Running:
		return fmt.Sprintf("pass %d, %s of %s (%s); %s", c.Pass, iec(c.DoneBytes), iec(c.TotalBytes), percent(min(c.DoneBytes, c.TotalBytes), c.TotalBytes), pace)
	case c.Pass == 0:
		return "no pass yet; " + pace
	}
	return fmt.Sprintf("pass %d was over %s, the next begins %s; %s", c.Pass, stamp(c.Finished), stamp(c.Next), pace)
}

func passBefore(c *adminv1.Scrub) string {
	if !c.GetRunning() || c.GetFinished() == nil {
		return ""
	}
	return findings(c.LastFound)
}

// findings says what a pass came across.
func findings(f *adminv1.ScrubFindings) string {
	out := []string{fmt.Sprintf("%d shards verified", f.GetShards())}
	add := func(n uint64, what string) {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(f.GetRotten(), "rotten")
	add(f.GetMissing(), "missing")
	add(f.GetOrphans(), "that no manifest names at present")
	add(f.GetDeleted(), "deleted that none ever will")
	add(f.GetFiles(), "log files mended")
	add(f.GetRuns(), "runs of the index to be built again")
	return strings.Join(out, ", ")
}

// repairLine says what is to be rebuilt on a node, how fast and until when.
func repairLine(r *adminv1.Repair) string {
	if r == nil {
		return ""
	}
	if r.MissingSegments == 0 {
		return fmt.Sprintf("nothing missing; %d shards rebuilt since the start", r.RepairedShards)
	}
	line := fmt.Sprintf("%d shards (%s) to be rebuilt, %s/s of at most %s/s (%s)", r.MissingSegments, iec(r.MissingBytes), iec(uint64(r.BytesPerSecond)), iec(r.AllowedBytesPerSecond), r.Pace)
	if r.EtaSeconds != nil {
		line += ", done in about " + seconds(r.GetEtaSeconds())
	}
	if r.BareSegments > 0 {
		line += fmt.Sprintf("; %d of them may lose no further shard and come first", r.BareSegments)
	}
	if r.FailedSegments > 0 {
		line += fmt.Sprintf("; %d could not be rebuilt: %s", r.FailedSegments, r.LastError)
	}
	return line
}

func seconds(s float64) string { return span(time.Duration(s * float64(time.Second))) }

// nodeConcerns says what an operator should know of the node's own shards.
func nodeConcerns(h *adminv1.Healing) []string {
	var out []string
	if r := h.GetRepair(); r.GetMissingSegments() > 0 {
		out = append(out, "repair: "+repairLine(r))
	}
	if c := h.GetScrub(); c.GetRunning() {
		out = append(out, "scrub: "+scrubLine(c))
	}
	f := h.GetScrub().GetFound()
	if f.GetRotten()+f.GetMissing()+f.GetFiles()+f.GetRuns() > 0 {
		out = append(out, "scrub found: "+findings(f))
	}
	return out
}

// keptNote says what a source keeps in its journal beyond the ack, and why.
func keptNote(j *adminv1.Journal, safe uint64) string {
	switch {
	case j == nil || j.WholeLsn >= safe:
		return ""
	case j.GaveUpLsn > j.WholeLsn:
		return fmt.Sprintf("the secondary has %d to %d without all shards; the journal is nearly full and kept only what is above %d of them (%s)", j.WholeLsn+1, safe, j.GaveUpLsn, iec(j.KeptBytes))
	}
	return fmt.Sprintf("the secondary has %d to %d without all shards: the journal keeps them (%s) until it has", j.WholeLsn+1, safe, iec(j.KeptBytes))
}
