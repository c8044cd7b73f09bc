package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// Transition is one allowed operation of a state. Next is the state that it
// leads to; StateNone means "back to where the group came from" (Group.Prior).
type Transition struct {
	Op   Operation
	Next State
	// WithPoints, if set, takes the place of Next for a group that has points.
	WithPoints State
}

// Transitions returns the row of the table for s: which operations are allowed
// and where they lead. This table is the only place that knows; docs/STATES.md
// is made from it.
func Transitions(s State) []Transition {
	to := func(op Operation, next State) Transition { return Transition{Op: op, Next: next} }
	switch s {
	case StateUnprotected:
		return []Transition{{OpProtect, StateInitialSync, StateResyncing}, to(OpTestFailover, s), to(OpDeletePoints, s)}
	case StateInitialSync:
		return []Transition{to(OpPause, StatePaused), to(OpUnprotect, StateUnprotected)}
	case StateProtected:
		return []Transition{to(OpBookmark, s), to(OpTestFailover, s),
			to(OpPlannedFailover, StateFailoverCommitPending), to(OpUnplannedFailover, StateFailoverCommitPending),
			to(OpPause, StatePaused), to(OpUnprotect, StateUnprotected), to(OpResynchronise, StateResyncing)}
	case StatePaused:
		return []Transition{to(OpResume, StateNone), to(OpTestFailover, s),
			to(OpUnplannedFailover, StateFailoverCommitPending), to(OpUnprotect, StateUnprotected)}
	case StateResyncRequired, StateResyncing:
		return []Transition{to(OpResynchronise, StateResyncing), to(OpTestFailover, s),
			to(OpUnplannedFailover, StateFailoverCommitPending), to(OpPause, StatePaused), to(OpUnprotect, StateUnprotected)}
	case StateFailingOver:
		return []Transition{to(OpTestFailover, s), to(OpCancel, StateNone)}
	case StateFailoverCommitPending:
		return []Transition{to(OpTestFailover, s), to(OpChangeRecoveryPoint, s), to(OpCommit, StateFailedOver), to(OpCancel, StateNone)}
	case StateFailedOver:
		return []Transition{to(OpReverseReplicate, StateReverseReplicating), to(OpTestFailover, s)}
	case StateReverseReplicating:
		return []Transition{to(OpTestFailover, s), to(OpPlannedFailover, StateProtected), to(OpUnplannedFailover, StateProtected),
			to(OpPause, StatePaused)}
	}
	return nil
}

// Allowed reports whether op may be asked for in state s, and where it leads.
// Group.Permits knows more: what is under a pause, and whether there are points.
func Allowed(s State, op Operation) (next State, ok bool) {
	for _, t := range Transitions(s) {
		if t.Op == op {
			return t.Next, true
		}
	}
	return StateNone, false
}

// NeedsPoint reports whether op opens a point of the past, so that a group
// without one cannot do it in any state.
func NeedsPoint(op Operation) bool {
	return op == OpTestFailover || op == OpUnplannedFailover || op == OpPlannedFailover
}

// AllowedOperations lists the operations of g's present state, in the order of
// the table.
func (g *Group) AllowedOperations() []Operation {
	var out []Operation
	for _, t := range Transitions(g.State) {
		if _, ok := g.leads(t.Op); ok {
			out = append(out, t.Op)
		}
	}
	return out
}

// Permits returns nil if op may be asked for now, or else ErrState with a hint
// that names the operations that may.
func (g *Group) Permits(op Operation) error {
	_, err := g.step(op)
	return err
}

// step finds where op leads from g's present state, or ErrState.
func (g *Group) step(op Operation) (State, error) {
	if next, ok := g.leads(op); ok {
		return next, nil
	}
	return StateNone, g.refuse(op)
}

// leads is where op leads, if it is allowed. A paused group does what the
// state allows in which it was paused.
func (g *Group) leads(op Operation) (next State, ok bool) {
	row := Transitions(g.State)
	i := slices.IndexFunc(row, func(t Transition) bool { return t.Op == op })
	if i < 0 || NeedsPoint(op) && g.Baseline == 0 {
		return StateNone, false
	}
	next = row[i].Next
	if row[i].WithPoints != StateNone && g.Baseline != 0 {
		next = row[i].WithPoints
	}
	if g.State == StatePaused && op != OpResume {
		under, ok := Allowed(g.Prior, op)
		if !ok {
			return StateNone, false
		}
		if op != OpTestFailover {
			next = under
		}
	}
	if next == StateNone {
		next = g.Prior
	}
	if next == StateNone { // of a catalog that did not note it yet
		next = StateProtected
	}
	return next, true
}

func (g *Group) refuse(op Operation) error {
	did := g.command(op)
	if did == "" {
		did = op.String()
	}
	return fail(did+" of group", string(g.ID),
		fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), g.instead(op))
}

// instead says what may be done in place of op.
func (g *Group) instead(op Operation) string {
	hint := g.Instead()
	switch _, listed := Allowed(g.State, op); {
	case listed && NeedsPoint(op) && g.Baseline == 0:
		return "it has no recovery point; " + hint
	case g.State == StatePaused && op != OpResume:
		return "it was paused while it was " + g.Prior.String() + "; " + hint
	}
	return hint
}

// Instead is the hint that names the commands that g's present state allows.
func (g *Group) Instead() string {
	var cmds []string
	for _, op := range g.AllowedOperations() {
		if c := g.command(op); c != "" {
			cmds = append(cmds, c)
		}
	}
	return "allowed now, as redoubt COMMAND " + string(g.ID) + ": " + strings.Join(cmds, ", ")
}

// command is the command for op as g is now, without the program; "" if none
// asks for it.
func (g *Group) command(op Operation) string {
	back := g.State == StateReverseReplicating || g.State == StatePaused && g.Prior == StateReverseReplicating
	switch {
	case op == OpPlannedFailover && back:
		return "failback"
	case op == OpPlannedFailover:
		return "failover planned"
	case op == OpUnplannedFailover && back: // the catalog knows it, no command does
		return ""
	}
	return strings.TrimPrefix(op.Command(), "redoubt ")
}

// settle makes the transition that happens by itself: once the first copy is
// whole, points are being made.
func (g *Group) settle() {
	whole := g.Baseline != 0 && g.Committed.LSN >= g.Baseline
	if whole && g.State == StateInitialSync {
		g.State = StateProtected
	}
	if whole && g.Prior == StateInitialSync {
		g.Prior = StateProtected
	}
	switch g.State {
	case StatePaused, StateFailingOver, StateFailoverCommitPending:
	default:
		g.Prior = StateNone
	}
}
