package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Estimate says how long a run takes, as far as former runs tell.
type Estimate struct {
	Steps    []StepEstimate // without those that take it back
	Expected time.Duration  // without the time that people take
	Worst    time.Duration  // if every step takes as long as it ever did
}

// StepEstimate says how long one step takes.
type StepEstimate struct {
	Step     Step
	Batch    int           // those of the same number run at the same time
	Expected time.Duration // median
	Worst    time.Duration
	Measured int    // how many measurements there are
	Assumes  string // what is assumed without one; empty: nothing
}

// groupGuess is assumed for a group that was never moved in such a run.
const groupGuess = 5 * time.Second

// Predict says how long such a run takes: the sum of its steps, of which those
// of one batch run at the same time. took holds the measurements of former runs
// by step key. Pure.
func Predict(p *Plan, kind catalog.RunKind, direction catalog.RunDirection, took map[string][]catalog.Timing) Estimate {
	var e Estimate
	for n, b := range Batches(p.Steps(kind, direction)) {
		var expected, worst time.Duration
		for _, s := range b {
			if s.Undoing() {
				return e
			}
			se := estimate(s, kind, took[s.Key])
			se.Batch = n
			e.Steps = append(e.Steps, se)
			if s.Type == catalog.TaskConfirm {
				continue
			}
			expected, worst = max(expected, se.Expected), max(worst, se.Worst)
		}
		e.Expected += expected
		e.Worst += worst
	}
	return e
}

func estimate(s Step, kind catalog.RunKind, took []catalog.Timing) StepEstimate {
	e := StepEstimate{Step: s}
	var same, other []time.Duration
	for _, t := range took {
		if t.Kind == kind {
			same = append(same, t.Took)
		} else {
			other = append(other, t.Took)
		}
	}
	if len(same) == 0 && len(other) > 0 {
		same, e.Assumes = other, "as long as in runs of another kind"
	}
	if s.Type == catalog.TaskConfirm {
		e.Assumes = "the time that people take is not counted"
	}
	switch {
	case len(same) > 0:
		slices.Sort(same)
		e.Expected, e.Worst, e.Measured = same[len(same)/2], same[len(same)-1], len(same)
	case s.Type == catalog.TaskConfirm:
		e.Worst = s.Limit()
	case s.Type == catalog.TaskGroup:
		e.Expected, e.Worst, e.Assumes = groupGuess, groupGuess, fmt.Sprintf("never measured: %s, a guess", groupGuess)
	default:
		e.Expected, e.Worst, e.Assumes = s.Limit(), s.Limit(), "never measured: its whole time limit"
	}
	return e
}
