package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// World is what a plan is held against: what is there.
type World struct {
	Groups  []string // that the secondary knows
	Targets []string // its master targets
	Sources []string // the hosts of the groups
	// Scripts says what is wrong with a script at a node; nil: nothing, or
	// nobody knows.
	Scripts map[ScriptAt]error
}

// ScriptAt is a script at a node.
type ScriptAt struct{ Node, Script string }

// Scripts returns which scripts the plan wants at which nodes, each once, in the plan's order.
func (p *Plan) Scripts() (out []ScriptAt) {
	for i := range p.Stages {
		for _, l := range p.Stages[i].lists() {
			for _, a := range l.actions {
				at := ScriptAt{or(a.Node, p.Node), a.Script}
				if a.Script != "" && at.Node != "" && !slices.Contains(out, at) {
					out = append(out, at)
				}
			}
		}
	}
	return out
}

func (k *checker) world(w *World) {
	k.target("node", k.p.Node, w)
	for i := range k.p.Stages {
		s := &k.p.Stages[i]
		for j, g := range s.Groups {
			key := fmt.Sprintf("stages[%d].groups[%d]", i, j)
			if g.Name != "" && !slices.Contains(w.Groups, g.Name) {
				k.add(key+".name", fmt.Sprintf("there is no group %q", g.Name), known("groups", w.Groups))
			}
			k.target(key+".node", g.Node, w)
		}
		for _, l := range s.lists() {
			for j := range l.actions {
				k.scriptIn(fmt.Sprintf("stages[%d].%s[%d]", i, l.name, j), &l.actions[j], w)
			}
		}
	}
}

func (k *checker) target(key, node string, w *World) {
	if node != "" && !slices.Contains(w.Targets, node) {
		k.add(key, fmt.Sprintf("there is no master target %q", node), known("master targets", w.Targets))
	}
}

func (k *checker) scriptIn(key string, a *Action, w *World) {
	if a.Script == "" {
		return
	}
	if a.Node != "" && !slices.Contains(w.Targets, a.Node) && !slices.Contains(w.Sources, a.Node) {
		k.add(key+".node", fmt.Sprintf("there is no node %q", a.Node), known("nodes", append(slices.Clone(w.Targets), w.Sources...)))
		return
	}
	at := ScriptAt{or(a.Node, k.p.Node), a.Script}
	if err := w.Scripts[at]; err != nil {
		k.add(key+".script", "at "+at.Node+": "+err.Error(), redoubt.Hint(err))
	}
}

func known(what string, names []string) string {
	if len(names) == 0 {
		return "there are no " + what
	}
	return what + ": " + strings.Join(names, ", ")
}
