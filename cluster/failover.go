package cluster

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Transition is one allowed operation of a state. Next is the state that it
// leads to; StateNone means "back to where the group came from" (Group.Prior).
type Transition struct {
	Op   Operation
	Next State
}

// Transitions returns the row of the table for s: which operations are allowed
// and where they lead. This table is the only place that knows.
func Transitions(s State) []Transition {
	switch s {
	case StateUnprotected:
		return []Transition{{OpProtect, StateInitialSync}}
	case StateInitialSync:
		return []Transition{{OpPause, StatePaused}, {OpUnprotect, StateUnprotected}}
	case StateProtected:
		return []Transition{{OpBookmark, StateProtected}, {OpTestFailover, StateProtected},
			{OpPlannedFailover, StateFailoverCommitPending}, {OpUnplannedFailover, StateFailoverCommitPending},
			{OpPause, StatePaused}, {OpUnprotect, StateUnprotected}}
	case StatePaused:
		return []Transition{{OpResume, StateNone}, {OpTestFailover, StatePaused},
			{OpUnplannedFailover, StateFailoverCommitPending}, {OpUnprotect, StateUnprotected}}
	case StateResyncRequired:
		return []Transition{{OpResynchronise, StateResyncing}, {OpTestFailover, StateResyncRequired},
			{OpUnplannedFailover, StateFailoverCommitPending}, {OpPause, StatePaused}}
	case StateResyncing:
		return []Transition{{OpResynchronise, StateResyncing}, {OpTestFailover, StateResyncing},
			{OpUnplannedFailover, StateFailoverCommitPending}, {OpPause, StatePaused}}
	case StateFailingOver:
		return []Transition{{OpCancel, StateNone}}
	case StateFailoverCommitPending:
		return []Transition{{OpChangeRecoveryPoint, StateFailoverCommitPending}, {OpCommit, StateFailedOver},
			{OpCancel, StateProtected}}
	case StateFailedOver:
		return []Transition{{OpReverseReplicate, StateReverseReplicating}, {OpTestFailover, StateFailedOver}}
	case StateReverseReplicating:
		return []Transition{{OpPlannedFailover, StateProtected}, {OpUnplannedFailover, StateProtected},
			{OpPause, StatePaused}}
	}
	return nil
}

// Allowed reports whether op may be asked for in state s, and where it leads.
func Allowed(s State, op Operation) (next State, ok bool) {
	for _, t := range Transitions(s) {
		if t.Op == op {
			return t.Next, true
		}
	}
	return StateNone, false
}

// AllowedOperations lists the operations of g's present state, in the order of
// the table.
func (g *Group) AllowedOperations() []Operation {
	var out []Operation
	for _, t := range Transitions(g.State) {
		if g.State == StatePaused && t.Op != OpResume && t.Op != OpUnprotect {
			if _, ok := Allowed(g.Prior, t.Op); !ok {
				continue // paused during the first copy: there is no point yet
			}
		}
		out = append(out, t.Op)
	}
	return out
}

// step finds where op leads from g's present state, or ErrState. A paused
// group fails over as the state allows in which it was paused.
func (g *Group) step(op Operation) (State, error) {
	next, ok := Allowed(g.State, op)
	if ok && g.State == StatePaused && op != OpResume && op != OpUnprotect {
		var under State
		under, ok = Allowed(g.Prior, op)
		if op != OpTestFailover {
			next = under
		}
	}
	if !ok {
		return StateNone, g.refuse(op)
	}
	if next == StateNone {
		next = g.Prior
	}
	return next, nil
}

func (g *Group) refuse(op Operation) error {
	return fail("operation "+op.String()+" on group", string(g.ID),
		fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState),
		fmt.Sprintf("allowed now: %v", g.AllowedOperations()))
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
	if g.State != StatePaused && g.State != StateFailingOver {
		g.Prior = StateNone
	}
}
