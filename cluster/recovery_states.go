package cluster

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// RunKind says what a run is for.
type RunKind uint8

// The kinds of a run; the numbers are part of the format.
const (
	RunTest      RunKind = 1 // beside production; cleaned up afterwards
	RunPlanned   RunKind = 2 // loses nothing; stops at an error
	RunUnplanned RunKind = 3 // the other site is lost; goes on after an error
)

// RunDirection says which way a run moves production.
type RunDirection uint8

// The directions of a run; the numbers are part of the format.
const (
	RunFailover RunDirection = 1 // to the secondary
	RunFailback RunDirection = 2 // to the old primary
)

// RunState is what becomes of a run.
type RunState uint8

// The states of a run; the numbers are part of the format.
const (
	RunRunning   RunState = 1
	RunStopped   RunState = 2 // at an error: resume or cancel
	RunDone      RunState = 3 // every step went well
	RunFailed    RunState = 4 // at the end, but steps failed
	RunUndoing   RunState = 5 // cleaned up, or taken back
	RunUndone    RunState = 6
	RunCancelled RunState = 7 // left as it was
)

// StepType says what a step does.
type StepType uint8

// The types of a step; the numbers are part of the format.
const (
	StepGroup   StepType = 1 // moves or opens a group
	StepScript  StepType = 2
	StepConfirm StepType = 3 // waits for an operator
	StepSweep   StepType = 4 // a script of a cleanup
	StepClose   StepType = 5 // takes back what a StepGroup did
)

// undoing reports whether the step belongs to the cleanup.
func (t StepType) undoing() bool { return t == StepSweep || t == StepClose }

// StepState is how far a step is.
type StepState uint8

// The states of a step; the numbers are part of the format.
const (
	StepPending StepState = 1
	StepRunning StepState = 2
	StepWaiting StepState = 3 // for a confirmation
	StepDone    StepState = 4
	StepFailed  StepState = 5
	StepSkipped StepState = 6 // by an operator
)

var (
	runKinds      = []string{RunTest: "test", RunPlanned: "planned", RunUnplanned: "unplanned"}
	runDirections = []string{RunFailover: "failover", RunFailback: "failback"}
	runStates     = []string{RunRunning: "running", RunStopped: "stopped", RunDone: "done", RunFailed: "failed", RunUndoing: "undoing",
		RunUndone: "undone", RunCancelled: "cancelled"}
	stepTypes  = []string{StepGroup: "group", StepScript: "script", StepConfirm: "confirm", StepSweep: "cleanup", StepClose: "close"}
	stepStates = []string{StepPending: "pending", StepRunning: "running", StepWaiting: "waiting", StepDone: "done", StepFailed: "failed", StepSkipped: "skipped"}
)

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) && names[i] != "" {
		return names[i]
	}
	return "unknown"
}

func valid(names []string, i uint8) bool { return i > 0 && int(i) < len(names) }

// String returns the kind's name.
func (k RunKind) String() string { return nameOf(runKinds, uint8(k)) }

// String returns the direction's name.
func (d RunDirection) String() string { return nameOf(runDirections, uint8(d)) }

// String returns the state's name.
func (s RunState) String() string { return nameOf(runStates, uint8(s)) }

// String returns the type's name.
func (t StepType) String() string { return nameOf(stepTypes, uint8(t)) }

// String returns the state's name.
func (s StepState) String() string { return nameOf(stepStates, uint8(s)) }

// UnmarshalText reads the name of a kind.
func (k *RunKind) UnmarshalText(b []byte) error {
	i := slices.Index(runKinds, string(b))
	if i < 1 {
		return &redoubt.Error{Op: "read kind", Object: string(b), Err: redoubt.ErrInvalid, Hint: "test, planned or unplanned"}
	}
	*k = RunKind(i)
	return nil
}

// UnmarshalText reads the name of a direction.
func (d *RunDirection) UnmarshalText(b []byte) error {
	i := slices.Index(runDirections, string(b))
	if i < 1 {
		return &redoubt.Error{Op: "read direction", Object: string(b), Err: redoubt.ErrInvalid, Hint: "failover or failback"}
	}
	*d = RunDirection(i)
	return nil
}
