package cluster

import (
	"fmt"
	"strconv"

	"github.com/redoubt-dr/redoubt"
)

// State is where a group is in the life cycle of protection and failover. The
// numbers are part of the stored formats and never change.
type State uint8

// The states. Their meaning stands in docs/formats/cluster.md.
const (
	StateNone                  State = 0 // no state: Group.Prior when there is none
	StateUnprotected           State = 1
	StateInitialSync           State = 2
	StateProtected             State = 3
	StatePaused                State = 4
	StateResyncRequired        State = 5
	StateResyncing             State = 6
	StateFailingOver           State = 7
	StateFailoverCommitPending State = 8
	StateFailedOver            State = 9
	StateReverseReplicating    State = 10
)

// States returns every state that a group can be in, in their order.
func States() []State {
	return []State{StateUnprotected, StateInitialSync, StateProtected, StatePaused, StateResyncRequired,
		StateResyncing, StateFailingOver, StateFailoverCommitPending, StateFailedOver, StateReverseReplicating}
}

// String returns the state's name as operators see it.
func (s State) String() string {
	switch s {
	case StateNone:
		return "None"
	case StateUnprotected:
		return "Unprotected"
	case StateInitialSync:
		return "InitialSync"
	case StateProtected:
		return "Protected"
	case StatePaused:
		return "Paused"
	case StateResyncRequired:
		return "ResyncRequired"
	case StateResyncing:
		return "Resyncing"
	case StateFailingOver:
		return "FailingOver"
	case StateFailoverCommitPending:
		return "FailoverCommitPending"
	case StateFailedOver:
		return "FailedOver"
	case StateReverseReplicating:
		return "ReverseReplicating"
	}
	return "State-" + strconv.Itoa(int(s))
}

// MarshalText writes the name, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *State) UnmarshalText(b []byte) error {
	for _, c := range append(States(), StateNone) {
		if c.String() == string(b) {
			*s = c
			return nil
		}
	}
	return fail("parse state", string(b), redoubt.ErrInvalid, "")
}

// Operation is what an operator may ask of a group. The numbers are part of the
// stored formats and never change.
type Operation uint8

// The operations. PlannedFailover in StateReverseReplicating is the failback.
const (
	OpProtect             Operation = 1
	OpUnprotect           Operation = 2
	OpPause               Operation = 3
	OpResume              Operation = 4
	OpBookmark            Operation = 5
	OpTestFailover        Operation = 6
	OpPlannedFailover     Operation = 7
	OpUnplannedFailover   Operation = 8
	OpChangeRecoveryPoint Operation = 9
	OpCommit              Operation = 10
	OpCancel              Operation = 11
	OpReverseReplicate    Operation = 12
	OpResynchronise       Operation = 13
)

// Operations returns every operation, in their order.
func Operations() []Operation {
	return []Operation{OpProtect, OpUnprotect, OpPause, OpResume, OpBookmark, OpTestFailover, OpPlannedFailover,
		OpUnplannedFailover, OpChangeRecoveryPoint, OpCommit, OpCancel, OpReverseReplicate, OpResynchronise}
}

// String returns the operation's name as operators see it.
func (o Operation) String() string {
	switch o {
	case OpProtect:
		return "Protect"
	case OpUnprotect:
		return "Unprotect"
	case OpPause:
		return "Pause"
	case OpResume:
		return "Resume"
	case OpBookmark:
		return "Bookmark"
	case OpTestFailover:
		return "TestFailover"
	case OpPlannedFailover:
		return "PlannedFailover"
	case OpUnplannedFailover:
		return "UnplannedFailover"
	case OpChangeRecoveryPoint:
		return "ChangeRecoveryPoint"
	case OpCommit:
		return "Commit"
	case OpCancel:
		return "Cancel"
	case OpReverseReplicate:
		return "ReverseReplicate"
	case OpResynchronise:
		return "Resynchronise"
	}
	return "Operation-" + strconv.Itoa(int(o))
}

// MarshalText writes the name, for JSON.
func (o Operation) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

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
