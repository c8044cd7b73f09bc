package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// The chart's measures in pixels.
const (
	chartLeft, chartPlot, chartRight = 150, 600, 50
	chartTop, chartRow, chartGap     = 50, 14, 24
)

// palette has a colour for each rival that reads on white and on black.
var palette = []string{"#d1495b", "#2e8bc0", "#3a9d5d", "#c77d0a", "#8e6bbf", "#6b7c8c"}

// chart draws the ratios of all jobs: a dot is the ratio of medians, its bar
// reaches over the ratios of the single rounds, a tick is the target.
func (r *results) chart() string {
	rivals := r.chartRivals()
	lo, hi := r.chartRange()
	x := func(v float64) float64 {
		v = min(max(v, lo), hi)
		return chartLeft + chartPlot*math.Log(v/lo)/math.Log(hi/lo)
	}
	var rows strings.Builder
	y := chartTop
	for _, j := range r.jobNames() {
		fmt.Fprintf(&rows, `<text x="8" y="%d" class="job">%s</text>`+"\n", y+chartRow, html.EscapeString(j))
		y += chartRow
		for i, name := range rivals {
			if c := r.cell(j, name); c != nil && c.Ratio > 0 {
				y += chartRow
				rows.WriteString(bar(c, r.goal(j, name), x, y, palette[i%len(palette)]))
			}
		}
		y += chartGap - chartRow
	}
	return r.frame(lo, hi, x, y) + rows.String() + "</svg>\n"
}

func bar(c *cell, goal float64, x func(float64) float64, y int, colour string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, chartLeft-8, y+4, html.EscapeString(c.Rival))
	fmt.Fprintf(&b, `<g stroke="%s" fill="%s"><title>%s: %.2f (%.2f to %.2f)</title><path d="M%.1f %dH%.1f" stroke-width="2"/><circle cx="%.1f" cy="%d" r="4"/></g>`,
		colour, colour, html.EscapeString(c.Job+", "+c.Rival), c.Ratio, c.Low, c.High, x(c.Low), y, x(c.High), x(c.Ratio), y)
	if goal > 0 {
		fmt.Fprintf(&b, `<path d="M%.1f %dv10" class="goal"/>`, x(goal), y-5)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">%.2f</text>`+"\n", chartLeft+chartPlot+8, y+4, c.Ratio)
	return b.String()
}

// frame is the head of the file: colours for light and dark, title, grid.
func (r *results) frame(lo, hi float64, x func(float64) float64, bottom int) string {
	var b strings.Builder
	width := chartLeft + chartPlot + chartRight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="11">
<style>
text{fill:#222}.back{fill:#fff}.grid{stroke:#ddd}.one{stroke:#777}.goal{stroke:#222;stroke-width:2}.job{font-weight:bold}
@media (prefers-color-scheme:dark){text{fill:#ddd}.back{fill:#14181d}.grid{stroke:#343b43}.one{stroke:#999}.goal{stroke:#eee}}
</style>
<rect width="100%%" height="100%%" class="back"/>
<text x="8" y="18" font-size="13">IOPS of %s / IOPS of the rival: dot median, bar single rounds, upright tick target; right of 1: faster</text>
`, width, bottom+8, width, bottom+8, html.EscapeString(r.Subject))
	for v := lo; v <= hi*1.001; v *= 2 {
		class := "grid"
		if v == 1 {
			class = "one"
		}
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" class="%s"/><text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(v), chartTop-4, bottom, class, x(v), chartTop-8, v)
	}
	return b.String()
}

// chartRange returns powers of two around all that is drawn, and around 1.
func (r *results) chartRange() (lo, hi float64) {
	lo, hi = 0.5, 2
	see := func(v float64) {
		for ; v > 0 && v < lo && lo > 1.0/64; lo /= 2 {
		}
		for ; v > hi && hi < 64; hi *= 2 {
		}
	}
	for _, c := range r.Cells {
		see(c.Low)
		see(c.High)
	}
	for _, v := range r.Verdicts {
		see(v.Min)
	}
	return lo, hi
}

// chartRivals returns all but the subject and the ceiling, sorted.
func (r *results) chartRivals() []string {
	var out []string
	for _, c := range r.Cells {
		if c.Rival != r.Subject && c.Rival != ceiling && !slices.Contains(out, c.Rival) {
			out = append(out, c.Rival)
		}
	}
	slices.Sort(out)
	return out
}

func (r *results) jobNames() []string {
	var out []string
	for _, c := range r.Cells {
		if !slices.Contains(out, c.Job) {
			out = append(out, c.Job)
		}
	}
	return out
}

// goal returns the target of a job against a rival, or 0.
func (r *results) goal(job, rival string) float64 {
	for _, v := range r.Verdicts {
		if v.Job == job && v.Rival == rival {
			return v.Min
		}
	}
	return 0
}
