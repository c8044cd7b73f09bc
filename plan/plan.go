package plan

import (
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
)

// Plan is a recovery plan. docs/PLANS.md explains every key.
type Plan struct {
	Version     int               `yaml:"version"` // of the format: 1
	Name        string            `yaml:"name"`
	Description string            `yaml:"description"`
	Node        string            `yaml:"node"`       // where groups are opened and scripts run that name no other
	Unattended  []catalog.RunKind `yaml:"unattended"` // kinds of runs in which nobody is there to confirm
	Stages      []Stage           `yaml:"stages"`
}

// Stage is carried out when the one before it is done: Pre one by one, Groups
// all at once, Post one by one.
type Stage struct {
	Name   string   `yaml:"name"`
	Pre    []Action `yaml:"pre"`
	Groups []Group  `yaml:"groups"`
	Post   []Action `yaml:"post"`
	// Cleanup runs before the stage's groups are closed, the last stage first.
	Cleanup []Action `yaml:"cleanup"`
}

// Group is a protection group that the stage moves.
type Group struct {
	Name    string `yaml:"name"`
	Node    string `yaml:"node"` // the master target that opens it; default: the plan's, else the one that owns its stream
	Hydrate bool   `yaml:"hydrate"`
}

// Action is a script or a confirmation.
type Action struct {
	Name      string               `yaml:"name"`
	When      []catalog.RunKind    `yaml:"when"`      // default: all kinds
	Direction catalog.RunDirection `yaml:"direction"` // default: both
	Timeout   *config.Duration     `yaml:"timeout"`
	OnError   string               `yaml:"on_error"` // stop, continue; default: by the kind of the run

	Script string   `yaml:"script"` // a file in the script folder of Node
	Args   []string `yaml:"args"`
	Node   string   `yaml:"node"`  // a master target, or the source of a group
	Leave  bool     `yaml:"leave"` // processes that it has started may live on

	Confirm   string   `yaml:"confirm"`   // what the operator is asked
	Operators []string `yaml:"operators"` // who may confirm; default: every operator
}

const (
	formatVersion = 1
	maxStages     = 32
	maxArgs       = 32
	maxText       = 4096 // bytes of a description, a question or an argument

	// scriptTimeout is the time limit of a script that names none.
	scriptTimeout = 10 * time.Minute
	minTimeout    = time.Second
)

// Limit returns the action's time limit; 0: a confirmation without one.
func (a *Action) Limit() time.Duration {
	switch {
	case a.Timeout != nil:
		return a.Timeout.Std()
	case a.Script != "":
		return scriptTimeout
	}
	return 0
}

// runs reports whether the action belongs to such a run.
func (a *Action) runs(k catalog.RunKind, d catalog.RunDirection) bool {
	if a.Direction != 0 && a.Direction != d {
		return false
	}
	if len(a.When) == 0 {
		return true
	}
	for _, w := range a.When {
		if w == k {
			return true
		}
	}
	return false
}

// GroupNames returns the groups in the order of the stages.
func (p *Plan) GroupNames() (out []string) {
	for i := range p.Stages {
		for _, g := range p.Stages[i].Groups {
			out = append(out, g.Name)
		}
	}
	return out
}
