package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// results is all of a run: raw measurements, and medians with their spread.
type results struct {
	Machine facts             `json:"machine"`
	Options map[string]any    `json:"options"`
	Skipped map[string]string `json:"skipped,omitempty"`
	Cells   []*cell           `json:"cells"`
}

// cell is one job on one rival.
type cell struct {
	Job    string        `json:"job"`
	Rival  string        `json:"rival"`
	Runs   []measurement `json:"runs"`
	Median measurement   `json:"median"`
	Spread float64       `json:"spread"` // (max-min)/median of IOPS
	Ratio  float64       `json:"ratio"`  // redoubt's median IOPS divided by this one's
}

func (r *results) skip(rival, why string) {
	if r.Skipped == nil {
		r.Skipped = map[string]string{}
	}
	if r.Skipped[rival] == "" {
		fmt.Printf("%s is skipped: %s\n", rival, why)
		r.Skipped[rival] = why
	}
}

func (r *results) cell(job, rival string) *cell {
	for _, c := range r.Cells {
		if c.Job == job && c.Rival == rival {
			return c
		}
	}
	return nil
}

func (r *results) add(job, rival string, m measurement) {
	c := r.cell(job, rival)
	if c == nil {
		c = &cell{Job: job, Rival: rival}
		r.Cells = append(r.Cells, c)
	}
	c.Runs = append(c.Runs, m)
}

func (r *results) summarise() {
	for _, c := range r.Cells {
		by := func(f func(measurement) float64) []float64 {
			var vs []float64
			for _, m := range c.Runs {
				vs = append(vs, f(m))
			}
			slices.Sort(vs)
			return vs
		}
		iops := by(func(m measurement) float64 { return m.IOPS })
		c.Median = measurement{IOPS: median(iops), MiBps: median(by(func(m measurement) float64 { return m.MiBps })),
			P50us: median(by(func(m measurement) float64 { return m.P50us })), P99us: median(by(func(m measurement) float64 { return m.P99us }))}
		c.Spread = (iops[len(iops)-1] - iops[0]) / c.Median.IOPS
	}
	for _, c := range r.Cells {
		if own := r.cell(c.Job, "redoubt"); own != nil {
			c.Ratio = own.Median.IOPS / c.Median.IOPS
		}
	}
	slices.SortStableFunc(r.Cells, func(a, b *cell) int { return cmp.Compare(a.Job, b.Job) })
}

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func (r *results) markdown() string {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "%s, %d cores, %s, Linux %s, file system %s, %s, commit %s\n\n", m.CPU, m.Cores, m.Memory, m.Kernel, m.FileSystem, m.FIO, m.Commit)
	for _, s := range []struct{ when, what string }{{"at the start", m.Busy}, {"at the end", m.After}} {
		if s.what != "" {
			fmt.Fprintf(&b, "**The machine was busy %s: %s**\n\n", s.when, s.what)
		}
	}
	b.WriteString("| job | rival | IOPS | MiB/s | p50 us | p99 us | spread | redoubt / rival |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, c := range r.Cells {
		ratio := "-"
		if c.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f", c.Ratio)
		}
		fmt.Fprintf(&b, "| %s | %s | %.0f | %.1f | %.0f | %.0f | %.0f %% | %s |\n", c.Job, c.Rival,
			c.Median.IOPS, c.Median.MiBps, c.Median.P50us, c.Median.P99us, 100*c.Spread, ratio)
	}
	for rival, why := range r.Skipped {
		fmt.Fprintf(&b, "\n%s was skipped: %s\n", rival, why)
	}
	fmt.Fprintf(&b, "\nMedians of %v rounds of %v s each, rivals interleaved; disk of %v bytes. Loops are driven by libaio with O_DIRECT, "+
		"NBD servers by fio's nbd engine over a unix socket: see bench/DESIGN.md before comparing them.\n",
		r.Options["rounds"], r.Options["seconds"], r.Options["disk_bytes"])
	return b.String()
}

func (r *results) save(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	base := filepath.Join(dir, now.UTC().Format("2006-01-02T150405Z"))
	if err := os.WriteFile(base+".json", append(b, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nsaved %s.json and .md\n", base)
	return os.WriteFile(base+".md", []byte(r.markdown()), 0o644)
}
