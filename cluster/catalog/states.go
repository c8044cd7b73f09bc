package catalog

import (
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
	OpDeletePoints        Operation = 14
)

// Operations returns every operation, in their order.
func Operations() []Operation {
	return []Operation{OpProtect, OpUnprotect, OpPause, OpResume, OpBookmark, OpTestFailover, OpPlannedFailover,
		OpUnplannedFailover, OpChangeRecoveryPoint, OpCommit, OpCancel, OpReverseReplicate, OpResynchronise, OpDeletePoints}
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
	case OpDeletePoints:
		return "DeletePoints"
	}
	return "Operation-" + strconv.Itoa(int(o))
}

// MarshalText writes the name, for JSON.
func (o Operation) MarshalText() ([]byte, error) { return []byte(o.String()), nil }
