package catalog

import "strconv"

// JobKind says which operation a job carries out. The numbers are part of the
// stored formats and never change.
type JobKind uint8

// The kinds of jobs.
const (
	JobPlanned   JobKind = 1
	JobUnplanned JobKind = 2
	JobChange    JobKind = 3
	JobCommit    JobKind = 4
	JobCancel    JobKind = 5
	JobReverse   JobKind = 6
	JobFailback  JobKind = 7
)

// JobState is how a job stands. The numbers are part of the stored formats.
type JobState uint8

// The states of jobs.
const (
	JobRunning    JobState = 1
	JobCancelling JobState = 2 // it is over; its source was stopped and has not yet said that it goes on
	JobDoneWell   JobState = 3
	JobFailed     JobState = 4
	JobCancelled  JobState = 5
)

// JobStep is a step of a job. The numbers are part of the stored formats.
type JobStep uint8

// The steps. What each does, and who does it, stands in docs/formats/cluster.md.
const (
	StepNone    JobStep = 0
	StepShip    JobStep = 1 // the source ships until it is close behind
	StepQuiesce JobStep = 2 // the source stops its writers
	StepDrain   JobStep = 3 // what is left is stored
	StepCompare JobStep = 4 // what was shipped last reads back as the source has it
	StepPromote JobStep = 5 // the epoch is raised
	StepExport  JobStep = 6 // the disks are opened
	StepCommit  JobStep = 7
	StepCancel  JobStep = 8  // the epoch goes back to the source
	StepClose   JobStep = 9  // the disks here are closed
	StepReverse JobStep = 10 // the catalog knows the direction
	StepConnect JobStep = 11 // the old primary has answered
	StepCatchUp JobStep = 12 // the old primary is whole and close behind
	StepSwitch  JobStep = 13 // the disks here stop, the rest is shipped, the epoch is raised
	StepWriter  JobStep = 14 // the old primary writes
	StepResume  JobStep = 15 // the source goes on after a job that came to nothing
)

// JobKinds returns every kind, in their order.
func JobKinds() []JobKind {
	return []JobKind{JobPlanned, JobUnplanned, JobChange, JobCommit, JobCancel, JobReverse, JobFailback}
}

// Steps returns the steps of a job of this kind that comes to its end.
func (k JobKind) Steps() []JobStep {
	switch k {
	case JobPlanned:
		return []JobStep{StepShip, StepQuiesce, StepDrain, StepCompare, StepPromote, StepExport}
	case JobUnplanned, JobChange:
		return []JobStep{StepPromote, StepExport}
	case JobCommit:
		return []JobStep{StepCommit}
	case JobCancel:
		return []JobStep{StepCancel, StepClose}
	case JobReverse:
		return []JobStep{StepReverse, StepConnect}
	case JobFailback:
		return []JobStep{StepCatchUp, StepSwitch, StepWriter, StepClose}
	}
	return nil
}

// after returns the step that follows, StepNone if st is the last one.
func (k JobKind) after(st JobStep) JobStep {
	steps := k.Steps()
	for i := range steps[:max(0, len(steps)-1)] {
		if steps[i] == st {
			return steps[i+1]
		}
	}
	return StepNone
}

// operation is the operation of the transition table that the job carries out.
func (k JobKind) operation() Operation {
	switch k {
	case JobPlanned, JobFailback:
		return OpPlannedFailover
	case JobUnplanned:
		return OpUnplannedFailover
	case JobChange:
		return OpChangeRecoveryPoint
	case JobCommit:
		return OpCommit
	case JobCancel:
		return OpCancel
	case JobReverse:
		return OpReverseReplicate
	}
	return 0
}

// String returns the kind's name as operators see it.
func (k JobKind) String() string {
	names := [...]string{JobPlanned: "planned-failover", JobUnplanned: "unplanned-failover", JobChange: "change-point",
		JobCommit: "commit", JobCancel: "cancel", JobReverse: "reverse", JobFailback: "failback"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return "kind-" + strconv.Itoa(int(k))
}

// String returns the state's name as operators see it.
func (s JobState) String() string {
	names := [...]string{JobRunning: "running", JobCancelling: "cancelling", JobDoneWell: "done", JobFailed: "failed", JobCancelled: "cancelled"}
	if int(s) < len(names) && names[s] != "" {
		return names[s]
	}
	return "state-" + strconv.Itoa(int(s))
}

// String returns the step's name as operators see it; "" for StepNone.
func (s JobStep) String() string {
	names := [...]string{StepNone: "", StepShip: "ship", StepQuiesce: "quiesce", StepDrain: "drain", StepCompare: "compare",
		StepPromote: "promote", StepExport: "export", StepCommit: "commit", StepCancel: "cancel", StepClose: "close",
		StepReverse: "reverse", StepConnect: "connect", StepCatchUp: "catch-up", StepSwitch: "switch", StepWriter: "writer", StepResume: "resume"}
	if int(s) < len(names) {
		return names[s]
	}
	return "step-" + strconv.Itoa(int(s))
}

// MarshalText writes the name, for JSON.
func (k JobKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText writes the name, for JSON.
func (s JobState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalText writes the name, for JSON.
func (s JobStep) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
