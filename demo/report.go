package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Fact is a figure of a step.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Step is one finished step.
type Step struct {
	Name    string  `json:"name"`
	At      float64 `json:"at_seconds"` // since the start
	Seconds float64 `json:"seconds"`
	Facts   []Fact  `json:"facts,omitempty"`
}

// Result is what the demo found, as JSON.
type Result struct {
	OK       bool    `json:"ok"`
	Error    string  `json:"error,omitempty"`
	Seed     uint64  `json:"seed"`
	Seconds  float64 `json:"seconds"`
	Steps    []Step  `json:"steps"`
	Headline []Fact  `json:"headline"`
}

// report prints steps as they go, or one JSON document at the end.
type report struct {
	out   io.Writer
	json  bool
	start time.Time
	res   Result
	began time.Time
}

func (r *report) step(name string) {
	r.end()
	r.began = time.Now()
	r.res.Steps = append(r.res.Steps, Step{Name: name, At: r.began.Sub(r.start).Seconds()})
	r.printf("\n[%6.1f s] %d. %s\n", r.began.Sub(r.start).Seconds(), len(r.res.Steps), name)
}

// end closes the present step.
func (r *report) end() {
	if n := len(r.res.Steps); n > 0 && r.res.Steps[n-1].Seconds == 0 {
		r.res.Steps[n-1].Seconds = time.Since(r.began).Seconds()
	}
}

// fact prints a figure of the present step.
func (r *report) fact(name, format string, args ...any) {
	f := Fact{name, fmt.Sprintf(format, args...)}
	if n := len(r.res.Steps); n > 0 {
		r.res.Steps[n-1].Facts = append(r.res.Steps[n-1].Facts, f)
	}
	r.printf("            %-30s %s\n", f.Name, f.Value)
}

// headline is a fact that the summary repeats.
func (r *report) headline(name, format string, args ...any) {
	r.fact(name, format, args...)
	r.res.Headline = append(r.res.Headline, Fact{name, fmt.Sprintf(format, args...)})
}

// progress prints a passing line.
func (r *report) progress(format string, args ...any) {
	r.printf("            … "+format+"\n", args...)
}

func (r *report) printf(format string, args ...any) {
	if !r.json {
		fmt.Fprintf(r.out, format, args...)
	}
}

// finish prints the summary, or the JSON document.
func (r *report) finish(err error) {
	r.end()
	r.res.OK, r.res.Seconds = err == nil, time.Since(r.start).Seconds()
	if err != nil {
		r.res.Error = err.Error()
	}
	if r.json {
		enc := json.NewEncoder(r.out)
		enc.SetIndent("", "  ")
		enc.Encode(r.res)
		return
	}
	line := strings.Repeat("-", 76)
	r.printf("\n%s\n", line)
	for _, f := range r.res.Headline {
		r.printf("%-42s %s\n", f.Name, f.Value)
	}
	r.printf("%s\n", line)
	if err == nil {
		r.printf("everything held: %d steps in %.1f s (seed %d)\n", len(r.res.Steps), r.res.Seconds, r.res.Seed)
		return
	}
	last := "start"
	if n := len(r.res.Steps); n > 0 {
		last = fmt.Sprintf("step %d (%s)", n, r.res.Steps[n-1].Name)
	}
	r.printf("DOES NOT HOLD at %s, %.1f s, seed %d\n%v\n", last, r.res.Seconds, r.res.Seed, err)
}

// size prints bytes for people.
func size(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
