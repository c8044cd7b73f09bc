package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt/bench/stats"
)

// results is all of a run: raw measurements, and medians with their spread.
type results struct {
	Machine  facts             `json:"machine"`
	Options  map[string]any    `json:"options"`
	Subject  string            `json:"subject"`   // the rival that ratios are about
	TwoDisks bool              `json:"two_disks"` // the journal has its own device
	Skipped  map[string]string `json:"skipped,omitempty"`
	Cells    []*cell           `json:"cells"`
	RPO      []*rpo            `json:"rpo,omitempty"`
	Verdicts []verdict         `json:"verdicts"`
	// Incomplete is the error that ended the run early; it has rows of fewer rounds.
	Incomplete string `json:"incomplete,omitempty"`
	jobs       []job
}

// cell is one job on one rival.
type cell struct {
	Job    string        `json:"job"`
	Rival  string        `json:"rival"`
	Runs   []measurement `json:"runs"` // by round
	Median measurement   `json:"median"`
	Spread float64       `json:"spread"`     // (max-min)/median of IOPS
	Ratio  float64       `json:"ratio"`      // the subject's median IOPS divided by this one's
	Low    float64       `json:"ratio_low"`  // the smallest and
	High   float64       `json:"ratio_high"` // the largest ratio within one round
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

// summarise computes medians, ratios and verdicts from the runs.
func (r *results) summarise() {
	for _, c := range r.Cells {
		by := func(f func(measurement) float64) float64 { return stats.Median(values(c.Runs, f)) }
		c.Median = measurement{IOPS: by(iops),
			MiBps:      by(func(m measurement) float64 { return m.MiBps }),
			P50us:      by(func(m measurement) float64 { return m.P50us }),
			P99us:      by(func(m measurement) float64 { return m.P99us }),
			FlushP50us: by(func(m measurement) float64 { return m.FlushP50us }),
			FlushP99us: by(func(m measurement) float64 { return m.FlushP99us })}
		c.Spread = stats.Spread(values(c.Runs, iops))
	}
	for _, c := range r.Cells {
		if own := r.cell(c.Job, r.Subject); own != nil {
			c.compare(own)
		}
	}
	slices.SortStableFunc(r.Cells, func(a, b *cell) int { return cmp.Compare(a.Job, b.Job) })
	r.Verdicts = r.judge()
}

func (c *cell) compare(own *cell) {
	c.Ratio = own.Median.IOPS / c.Median.IOPS
	c.Low, c.High = c.Ratio, c.Ratio
	for i := range min(len(own.Runs), len(c.Runs)) {
		v := own.Runs[i].IOPS / c.Runs[i].IOPS
		c.Low, c.High = min(c.Low, v), max(c.High, v)
	}
}

func iops(m measurement) float64 { return m.IOPS }

func values(ms []measurement, f func(measurement) float64) []float64 {
	var vs []float64
	for _, m := range ms {
		vs = append(vs, f(m))
	}
	return vs
}

// save writes the JSON, the tables and the chart side by side.
func (r *results) save(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := now.UTC().Format("2006-01-02T150405Z")
	if r.Subject == replicated {
		name += "-replicated"
	}
	base := filepath.Join(dir, name)
	for ext, text := range map[string]string{".json": string(b) + "\n", ".md": r.markdown("![ratios](" + name + ".svg)\n\n"), ".svg": r.chart()} {
		if err := os.WriteFile(base+ext, []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\nsaved %s.json, .md and .svg\n", base)
	return nil
}
