package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// Bounds of the table of jobs. They hold for what is decoded, too.
const (
	// MaxJobs is how many jobs of a group are kept; the oldest go first.
	MaxJobs = 32
	// MaxJobSteps is how many steps one record holds.
	MaxJobSteps = 16
	// MaxNote is the length of a step's line, an error and a hint, in bytes.
	MaxNote = 512
	// MaxProof is how many extents the last hash of a source covers.
	MaxProof = 64
)

// Job is the record of one operation on a group: what it is, how far it has
// come, and what it did. It is never changed in place.
type Job struct {
	ID    uint64          `json:"id"` // from 1, for each group, without gaps
	Group redoubt.GroupID `json:"group"`
	Kind  JobKind         `json:"kind"`
	By    string          `json:"by"` // who began it
	State JobState        `json:"state"`
	// Outcome is what a job that is JobCancelling becomes when its source has gone on.
	Outcome JobState  `json:"outcome,omitempty"`
	Step    JobStep   `json:"step"` // under way; StepNone when the job is over
	Steps   []JobDone `json:"steps"`
	Began   int64     `json:"began"` // Unix nanoseconds, by the clock of whoever began it
	Ended   int64     `json:"ended,omitempty"`
	Error   string    `json:"error,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Done    uint64    `json:"done"`  // progress of Step, in LSNs
	Total   uint64    `json:"total"` // 0: not known

	// Node drives the job and exports what it opens. Unless Fixed, the group's
	// owner may take its place as long as nothing is promoted.
	Node  redoubt.NodeID `json:"node"`
	Fixed bool           `json:"fixed,omitempty"`
	// Term counts the claims; only the holder of the newest one may go on.
	Term    uint64        `json:"term"`
	Epoch   redoubt.Epoch `json:"epoch"`           // of the group when the job began
	Limit   int64         `json:"limit,omitempty"` // nanoseconds that a source stays stopped before it asks to cancel
	Hydrate bool          `json:"hydrate,omitempty"`

	// What the source has told: its last write (0 until it has stopped), for how
	// long it had stopped then, and a hash of what it wrote last.
	Head  redoubt.LSN   `json:"head,omitempty"`
	Held  int64         `json:"held,omitempty"` // nanoseconds; at the end: how long nobody could write
	Sum   []byte        `json:"sum,omitempty"`  // SHA-256; see ship.HashExtents
	Proof []ProofExtent `json:"proof,omitempty"`
}

// JobDone is a step that is done.
type JobDone struct {
	Step JobStep `json:"step"`
	At   int64   `json:"at"`
	Note string  `json:"note"`
}

// ProofExtent is a range of a disk that a hash covers.
type ProofExtent struct {
	Disk   redoubt.DiskID `json:"disk"`
	Extent redoubt.Extent `json:"extent"`
}

// Jobs are the jobs of a group that are kept, the oldest first.
type Jobs struct {
	Next uint64 `json:"next"` // ID of the next one
	// Planned is the epoch that the last planned failover began; 0 if there was none.
	Planned redoubt.Epoch `json:"planned,omitempty"`
	List    []Job         `json:"list"`
}

// Running reports whether the job is under way.
func (j *Job) Running() bool { return j.State == JobRunning }

// Promoted reports whether the job has raised the group's epoch.
func (j *Job) Promoted() bool {
	return slices.ContainsFunc(j.Steps, func(d JobDone) bool { return d.Step == StepPromote || d.Step == StepSwitch })
}

// StepBegan returns when the step under way began, in Unix nanoseconds.
func (j *Job) StepBegan() int64 {
	if n := len(j.Steps); n > 0 {
		return j.Steps[n-1].At
	}
	return j.Began
}

// running returns the job that is under way, or nil.
func (js *Jobs) running() *Job {
	if js == nil {
		return nil
	}
	for i := len(js.List) - 1; i >= 0; i-- {
		if js.List[i].Running() {
			return &js.List[i]
		}
	}
	return nil
}

// cancelling returns the jobs whose source was not heard of.
func (js *Jobs) cancelling() []Job {
	if js == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(js.List), func(j Job) bool { return j.State != JobCancelling })
}

func (js *Jobs) find(id uint64) *Job {
	if js == nil {
		return nil
	}
	for i := range js.List {
		if js.List[i].ID == id {
			return &js.List[i]
		}
	}
	return nil
}

// with returns a copy of the table in which j is added, or takes the place of
// the job of its ID.
func (js *Jobs) with(j Job) *Jobs {
	n := Jobs{Next: 1}
	if js != nil {
		n = *js
	}
	n.List = slices.Clone(n.List)
	if i := slices.IndexFunc(n.List, func(o Job) bool { return o.ID == j.ID }); i >= 0 {
		n.List[i] = j
		return &n
	}
	n.List = append(n.List, j)
	n.Next = max(n.Next, j.ID+1)
	n.List = n.List[max(0, len(n.List)-MaxJobs):]
	return &n
}

// did returns j with its step done and the next one under way.
func (j Job) did(at int64, note string, next JobStep) Job {
	j.Steps = append(slices.Clone(j.Steps), JobDone{j.Step, at, clip(note)})
	j.Steps = j.Steps[max(0, len(j.Steps)-MaxJobSteps):]
	j.Step, j.Done, j.Total = next, 0, 0
	return j
}

// over returns j at its end.
func (j Job) over(state JobState, at int64, text, hint string) Job {
	j.State, j.Step, j.Ended, j.Error, j.Hint = state, StepNone, at, clip(text), clip(hint)
	j.Outcome, j.Proof, j.Sum = 0, nil, nil
	return j
}

// clip bounds a text, and keeps it valid UTF-8: it goes into messages.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), MaxNote)], "") }

func (s *state) jobError(op string, id redoubt.GroupID, job uint64, cause error, hint string) error {
	return fail(op, fmt.Sprintf("%s/%d", id, job), cause, hint)
}
