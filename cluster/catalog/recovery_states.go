package catalog

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

// TaskType says what a step does.
type TaskType uint8

// The types of a step; the numbers are part of the format.
const (
	TaskGroup   TaskType = 1 // moves or opens a group
	TaskScript  TaskType = 2
	TaskConfirm TaskType = 3 // waits for an operator
	TaskSweep   TaskType = 4 // a script of a cleanup
	TaskClose   TaskType = 5 // takes back what a TaskGroup did
)

// undoing reports whether the step belongs to the cleanup.
func (t TaskType) undoing() bool { return t == TaskSweep || t == TaskClose }

// TaskState is how far a step is.
type TaskState uint8

// The states of a step; the numbers are part of the format.
const (
	TaskPending TaskState = 1
	TaskRunning TaskState = 2
	TaskWaiting TaskState = 3 // for a confirmation
	TaskDone    TaskState = 4
	TaskFailed  TaskState = 5
	TaskSkipped TaskState = 6 // by an operator
)

var (
	runKinds      = []string{RunTest: "test", RunPlanned: "planned", RunUnplanned: "unplanned"}
	runDirections = []string{RunFailover: "failover", RunFailback: "failback"}
	runStates     = []string{RunRunning: "running", RunStopped: "stopped", RunDone: "done", RunFailed: "failed", RunUndoing: "undoing",
		RunUndone: "undone", RunCancelled: "cancelled"}
	taskTypes  = []string{TaskGroup: "group", TaskScript: "script", TaskConfirm: "confirm", TaskSweep: "cleanup", TaskClose: "close"}
	taskStates = []string{TaskPending: "pending", TaskRunning: "running", TaskWaiting: "waiting", TaskDone: "done", TaskFailed: "failed", TaskSkipped: "skipped"}
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
func (t TaskType) String() string { return nameOf(taskTypes, uint8(t)) }

// String returns the state's name.
func (s TaskState) String() string { return nameOf(taskStates, uint8(s)) }

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
