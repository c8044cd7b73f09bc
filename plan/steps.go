package plan

import (
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Step is one step of a run.
type Step struct {
	Key    string // STAGE/group/NAME, STAGE/pre/NAME, STAGE/post/NAME, STAGE/cleanup/NAME or STAGE/close/NAME
	Type   catalog.TaskType
	Stage  string
	Node   string  // as the plan says; may be empty for a group
	Group  *Group  // of TaskGroup and TaskClose
	Action *Action // of the others
}

// Limit is the step's time limit; 0: none of its own.
func (s *Step) Limit() time.Duration {
	if s.Action == nil {
		return 0
	}
	return s.Action.Limit()
}

// Undoing reports whether the step belongs to the cleanup.
func (s *Step) Undoing() bool { return s.Type == catalog.TaskSweep || s.Type == catalog.TaskClose }

// stops reports whether a run of this kind stops when the step failed.
func (s *Step) stops(k catalog.RunKind) bool {
	if s.Action != nil && s.Action.OnError != "" {
		return s.Action.OnError == "stop"
	}
	return k == catalog.RunPlanned
}

// Steps returns what a run does, in order, and behind it what takes it back: a
// pure function of the plan. A failback cannot be taken back.
func (p *Plan) Steps(kind catalog.RunKind, direction catalog.RunDirection) []Step {
	var out []Step
	actions := func(s *Stage, list string, as []Action, script catalog.TaskType) {
		for i := range as {
			a := &as[i]
			if !a.runs(kind, direction) {
				continue
			}
			st := Step{Key: s.Name + "/" + list + "/" + a.Name, Type: script, Stage: s.Name, Action: a, Node: or(a.Node, p.Node)}
			if a.Confirm != "" {
				st.Type, st.Node = catalog.TaskConfirm, ""
			}
			out = append(out, st)
		}
	}
	groups := func(s *Stage, list string, t catalog.TaskType) {
		for i := range s.Groups {
			g := &s.Groups[i]
			out = append(out, Step{Key: s.Name + "/" + list + "/" + g.Name, Type: t, Stage: s.Name, Group: g, Node: or(g.Node, p.Node)})
		}
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		actions(s, "pre", s.Pre, catalog.TaskScript)
		groups(s, "group", catalog.TaskGroup)
		actions(s, "post", s.Post, catalog.TaskScript)
	}
	if direction == catalog.RunFailback {
		return out
	}
	for i := len(p.Stages) - 1; i >= 0; i-- {
		s := &p.Stages[i]
		actions(s, "cleanup", s.Cleanup, catalog.TaskSweep)
		groups(s, "close", catalog.TaskClose)
	}
	return out
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Batches groups steps that are carried out at the same time: the groups of one stage.
func Batches(steps []Step) (out [][]Step) {
	for i, s := range steps {
		if i > 0 && s.Group != nil && s.Type == steps[i-1].Type && s.Stage == steps[i-1].Stage {
			out[len(out)-1] = append(out[len(out)-1], s)
			continue
		}
		out = append(out, []Step{s})
	}
	return out
}
