package main

import (
	"fmt"
	"strings"
)

// verdict is a target held against what was measured.
type verdict struct {
	goal
	Job      string  `json:"job"`
	Ratio    float64 `json:"ratio"` // 0: not measured
	Low      float64 `json:"ratio_low"`
	High     float64 `json:"ratio_high"`
	Measured bool    `json:"measured"`
	Met      bool    `json:"met"`
	// Ceiling is what a server that does nothing reaches against the rival, with
	// the same client over the same socket; 0: not measured.
	Ceiling float64 `json:"ceiling"`
}

// ownGoal is what replication may cost: the part of its own figure that the
// protected disk must keep.
var ownGoal = []goal{{unreplicated, 0.5}}

// judge holds every job against its targets.
func (r *results) judge() []verdict {
	var out []verdict
	for _, j := range r.jobs {
		goals := j.goals(r.TwoDisks)
		if r.Subject == replicated {
			goals = ownGoal
		}
		for _, g := range goals {
			v := verdict{goal: g, Job: j.name}
			if c := r.cell(j.name, g.Rival); c != nil && c.Ratio > 0 {
				v.Measured, v.Ratio, v.Low, v.High = true, c.Ratio, c.Low, c.High
				v.Met = v.Ratio >= v.Min
				if n := r.cell(j.name, ceiling); n != nil && c.Median.IOPS > 0 {
					v.Ceiling = n.Median.IOPS / c.Median.IOPS
				}
			}
			out = append(out, v)
		}
	}
	return out
}

// beyond reports whether not even a server that does nothing reaches the target.
func (v verdict) beyond() bool { return v.Ceiling > 0 && v.Ceiling < v.Min }

// word is the verdict for the table. Rounds on both sides of the target make
// it a close one.
func (v verdict) word() string {
	close := ""
	if v.Low < v.Min && v.High >= v.Min {
		close = " (rounds disagree)"
	}
	switch {
	case !v.Measured:
		return "not measured"
	case v.Met:
		return "met" + close
	}
	if v.beyond() {
		return "missed (above the ceiling)" + close
	}
	return "**missed**" + close
}

// verdictTable is the Markdown of the targets.
func (r *results) verdictTable() string {
	if len(r.Verdicts) == 0 {
		return ""
	}
	var b strings.Builder
	met, unknown, beyond := 0, 0, 0
	for _, v := range r.Verdicts {
		if v.Met {
			met++
		} else if v.beyond() {
			beyond++
		}
		if !v.Measured {
			unknown++
		}
	}
	fmt.Fprintf(&b, "## Targets: %d met, %d missed, %d not measured\n\n", met, len(r.Verdicts)-met-unknown, unknown)
	if beyond > 0 {
		fmt.Fprintf(&b, "%d of the missed ones are above the ceiling: %s, which keeps nothing and syncs nothing, does not reach them either.\n\n", beyond, ceiling)
	}
	b.WriteString("| job | rival | target | ratio | rounds | ceiling | verdict |\n|---|---|---:|---:|---:|---:|---|\n")
	for _, v := range r.Verdicts {
		ratio, rounds, top := "-", "-", "-"
		if v.Measured {
			ratio, rounds = fmt.Sprintf("%.2f", v.Ratio), fmt.Sprintf("%.2f to %.2f", v.Low, v.High)
		}
		if v.Ceiling > 0 {
			top = fmt.Sprintf("%.2f", v.Ceiling)
		}
		fmt.Fprintf(&b, "| %s | %s | >= %.1f | %s | %s | %s | %s |\n", v.Job, v.Rival, v.Min, ratio, rounds, top, v.word())
	}
	return b.String()
}

// reachedRate is the part of the asked rate below which the RPO says nothing.
// fio's figure is lower than its rate, because the flush at the end takes time.
const reachedRate = 0.8

// rpoTable is the Markdown of the lag at half rate; the worst round counts.
func (r *results) rpoTable() string {
	if len(r.RPO) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n## RPO at half of the maximal rate\n\n")
	fmt.Fprintf(&b, "Age in seconds of the oldest write not yet safe at the secondary; target: max under %.0f s.\n\n", rpoGoal)
	b.WriteString("| job | asked IOPS | reached IOPS | samples | p99 | max | verdict |\n|---|---:|---:|---:|---:|---:|---|\n")
	for _, p := range r.RPO {
		word := "met"
		switch {
		case p.IOPS < reachedRate*p.LimitIOPS:
			word = "**rate not reached**"
		case p.max() >= rpoGoal:
			word = "**missed**"
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.0f | %d | %.2f | %.2f | %s |\n", p.Job, p.LimitIOPS, p.IOPS, len(p.Lags), p.p99(), p.max(), word)
	}
	return b.String()
}
