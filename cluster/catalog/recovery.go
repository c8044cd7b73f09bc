package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Limits of recovery plans and their runs in the catalog.
const (
	MaxRecoveryPlans = 64
	MaxPlanText      = 64 << 10 // bytes of YAML
	MaxRunSteps      = 512
	MaxStepKey       = 256      // bytes of a step's key
	MaxStepOutput    = 64 << 10 // bytes that are kept of one step's output
	MaxRunOutput     = 2 << 20  // of all steps of a run; what comes later keeps length and digest only
	maxStepText      = 1024     // bytes of an error or a hint

	keptRuns     = 20       // of each plan that are over
	keptRunBytes = 64 << 20 // of all runs that are over
	openTests    = 4        // test runs of a plan that are not cleaned up
	keptTimes    = 8        // measurements of each step
)

// RecoveryPlan is a plan as it was put into the catalog. The catalog keeps its
// text and does not read it. Values that the Catalog returns share their slices and maps
// with it: do not change them.
type RecoveryPlan struct {
	Name    string              `json:"name"`
	Version uint64              `json:"version"` // from 1, rises with every change of the text
	Text    []byte              `json:"text"`
	By      string              `json:"by"`
	At      int64               `json:"at"`             // Unix nanoseconds
	Runs    uint64              `json:"runs"`           // number of the last run
	Took    map[string][]Timing `json:"took,omitempty"` // by the step's key, the oldest first
}

// Timing is how long a step took once.
type Timing struct {
	Kind RunKind       `json:"kind"`
	Took time.Duration `json:"took"`
}

// Run is one execution of a recovery plan. It holds the plan's text as it was
// when the run began. Values that the Catalog returns share their slices with it.
type Run struct {
	Plan      string       `json:"plan"`
	Number    uint64       `json:"number"`
	Version   uint64       `json:"version"`
	Text      []byte       `json:"text"`
	Kind      RunKind      `json:"kind"`
	Direction RunDirection `json:"direction"`
	Point     string       `json:"point"` // of all groups, as package admin writes it
	By        string       `json:"by"`
	Started   int64        `json:"started"` // times are Unix nanoseconds
	Ended     int64        `json:"ended"`   // 0 while steps are carried out
	State     RunState     `json:"state"`
	// Holder is the node that carries the run out. Term rises with every
	// change of it; what names an older one is refused.
	Holder redoubt.NodeID `json:"holder"`
	Term   uint64         `json:"term"`
	Steps  []RunStep      `json:"steps"`
}

// RunStep is one step of a run and how it went.
type RunStep struct {
	Key     string         `json:"key"`
	Type    TaskType       `json:"type"`
	State   TaskState      `json:"state"`
	Attempt uint64         `json:"attempt"`
	Node    redoubt.NodeID `json:"node"` // where it is carried out; also the name of a source
	Mark    uint64         `json:"mark"` // of a group: its epoch before the first attempt
	Started int64          `json:"started"`
	Ended   int64          `json:"ended"`
	By      string         `json:"by"` // who confirmed
	Error   string         `json:"error"`
	Hint    string         `json:"hint"`
	Bytes   uint64         `json:"bytes"`            // of the whole output
	Digest  []byte         `json:"digest,omitempty"` // SHA-256 of it
	Output  []byte         `json:"output,omitempty"` // the last bytes of it
}

// ID returns PLAN/NUMBER, which ParseRunID reads.
func (r *Run) ID() string { return RunID(r.Plan, r.Number) }

// RunID names a run.
func RunID(plan string, number uint64) string { return fmt.Sprintf("%s/%d", plan, number) }

// ParseRunID reads PLAN/NUMBER.
func ParseRunID(s string) (plan string, number uint64, err error) {
	bad := fail("find run", fmt.Sprintf("%q", s), redoubt.ErrInvalid, "a run is named PLAN/NUMBER, such as shop/3; redoubt plan list shows them")
	plan, num, _ := strings.Cut(s, "/")
	number, perr := strconv.ParseUint(num, 10, 64)
	if redoubt.ValidName("plan", plan) != nil || perr != nil || number == 0 || RunID(plan, number) != s {
		return "", 0, bad
	}
	return plan, number, nil
}

// Step returns the step with this key; nil if there is none.
func (r *Run) Step(key string) *RunStep {
	i := slices.IndexFunc(r.Steps, func(s RunStep) bool { return s.Key == key })
	if i < 0 {
		return nil
	}
	return &r.Steps[i]
}

// Open reports whether the run is not over: there is something to carry out,
// to decide or, for a test, to clean up.
func (r *Run) Open() bool {
	switch r.State {
	case RunCancelled, RunUndone:
		return false
	case RunDone, RunFailed:
		return r.Kind == RunTest
	}
	return true
}

// size is about what the run takes in memory, in bytes.
func (r *Run) size() int {
	n := len(r.Text)
	for i := range r.Steps {
		n += 256 + len(r.Steps[i].Output) + len(r.Steps[i].Error) + len(r.Steps[i].Hint)
	}
	return n
}

// outputs is how much of the steps' output is kept, in bytes.
func (r *Run) outputs() (n int) {
	for i := range r.Steps {
		n += len(r.Steps[i].Output)
	}
	return n
}
