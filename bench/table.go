package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// markdown is the whole report; chart is put behind the machine's facts.
func (r *results) markdown(chart string) string {
	var b strings.Builder
	b.WriteString(r.Machine.markdown())
	if r.Incomplete != "" {
		first, _, _ := strings.Cut(r.Incomplete, "\n")
		fmt.Fprintf(&b, "**The run ended early: %s**\n\n", first)
	}
	b.WriteString(chart)
	if t := r.verdictTable(); t != "" {
		b.WriteString(t + r.rpoTable() + "\n## Medians\n\n")
	}
	fmt.Fprintf(&b, "| job | rival | IOPS | MiB/s | p50 us | p99 us | flush p50 us | flush p99 us | spread | %s / rival | rounds |\n", r.Subject)
	b.WriteString("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, c := range r.Cells {
		ratio, rounds := "-", "-"
		if c.Ratio > 0 {
			ratio, rounds = fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("%.2f to %.2f", c.Low, c.High)
		}
		m := c.Median
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.1f | %.0f | %.0f | %s | %s | %.0f %% | %s | %s |\n", c.Job, c.Rival,
			m.IOPS, m.MiBps, m.P50us, m.P99us, orDash(m.FlushP50us), orDash(m.FlushP99us), 100*c.Spread, ratio, rounds)
	}
	for _, rival := range slices.Sorted(maps.Keys(r.Skipped)) {
		fmt.Fprintf(&b, "\n%s was skipped: %s\n", rival, r.Skipped[rival])
	}
	where := "on the same disk as the image"
	if r.TwoDisks {
		where = "on another disk than the image"
	}
	fmt.Fprintf(&b, "\nMedians of %v rounds of %v s each, rivals interleaved; disk of %v bytes, long disk of %v bytes; journal %s. "+
		"Spread is (max - min) / median of IOPS. Loops are driven by libaio with O_DIRECT, "+
		"NBD servers by fio's nbd engine over a unix socket: see bench/DESIGN.md before comparing them.\n",
		r.Options["rounds"], r.Options["seconds"], r.Options["disk_bytes"], r.Options["long_disk_bytes"], where)
	return b.String()
}

func (f facts) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %d cores, %s, Linux %s, file system %s, journal on %s, %s, commit %s, %s\n\n", f.CPU, f.Cores, f.Memory, f.Kernel, f.FileSystem, f.JournalFS, f.FIO, f.Commit, f.When)
	if f.FileSystem == "tmpfs" || f.JournalFS == "tmpfs" {
		b.WriteString("**In memory (tmpfs): a flush costs nothing there, so this is no measurement of a disk**\n\n")
	}
	for _, s := range f.Busy {
		fmt.Fprintf(&b, "**The machine was busy %s**\n\n", s)
	}
	return b.String()
}

func orDash(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", v)
}
