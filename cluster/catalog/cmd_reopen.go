package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// ReopenRun is the AdvanceRun by which an operator has a run go on, or taken back:
// EventResume, or EventCancel with Undo. A run that is over is not reopened beside
// another one that moves the same groups. It is a command of its own because
// AdvanceRun did not look at the others, and nodes that do not know it must stop.
// Result: nil.
type ReopenRun AdvanceRun

func (c ReopenRun) kind() kind        { return kindReopenRun }
func (c ReopenRun) encode(e *encoder) { AdvanceRun(c).encode(e) }

func (c ReopenRun) check() error {
	if !AdvanceRun(c).Reopens() {
		return invalid("reopen run", RunID(c.Plan, c.Number), fmt.Sprintf("event %d", c.Event))
	}
	return AdvanceRun(c).check()
}

// Reopens reports whether the event may have a run go on that is over: then it is
// proposed as ReopenRun.
func (c AdvanceRun) Reopens() bool {
	return c.Event == EventResume || c.Event == EventCancel && c.Undo
}

func (c ReopenRun) apply(s *state) (any, error) {
	if r, ok := s.runs[runKey{c.Plan, c.Number}]; ok && r.Kind != RunTest && !r.Open() {
		for _, other := range s.runsOf(c.Plan) {
			if other.Kind != RunTest && other.Open() {
				return nil, beside("reopen run", r.ID(), other)
			}
		}
	}
	return AdvanceRun(c).apply(s)
}

// beside is the refusal of what may not be done beside an open run of the plan.
func beside(op, object string, open *Run) error {
	return fail(op, object, fmt.Errorf("run %s is %s: %w", open.ID(), open.State, redoubt.ErrState),
		"see it with redoubt plan status "+open.ID()+"; resume or cancel it")
}
