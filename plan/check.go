package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// checker collects what is wrong with a plan.
type checker struct {
	p      *Plan
	faults config.Faults
}

func (k *checker) add(key, msg, hint string) {
	k.faults = append(k.faults, config.Fault{Key: key, Message: msg, Hint: hint})
}

func (k *checker) name(key, what, s string) {
	if s == "" {
		k.add(key, "is missing", "")
	} else if err := redoubt.ValidName(what, s); err != nil {
		k.add(key, strconv.Quote(s)+" is not valid", redoubt.Hint(err))
	}
}

func (k *checker) optionalName(key, what, s string) {
	if s != "" {
		k.name(key, what, s)
	}
}

func (k *checker) text(key, s string) {
	if len(s) > maxText || strings.ContainsRune(s, 0) {
		k.add(key, "is too long or holds a zero byte", fmt.Sprintf("at most %d bytes", maxText))
	}
}

// unique notes that value stands at key and complains if it stood elsewhere.
func (k *checker) unique(seen map[string]string, value, key string) {
	if first, ok := seen[value]; ok && value != "" {
		k.add(key, strconv.Quote(value)+" is there twice", "first at "+first)
		return
	}
	seen[value] = key
}

func (k *checker) plan() {
	p := k.p
	if p.Version != formatVersion {
		k.add("version", fmt.Sprintf("%d is not supported", p.Version), fmt.Sprintf("version: %d", formatVersion))
	}
	k.name("name", "plan", p.Name)
	k.text("description", p.Description)
	k.optionalName("node", "node", p.Node)
	k.kinds("unattended", p.Unattended)
	if len(p.Stages) == 0 || len(p.Stages) > maxStages {
		k.add("stages", fmt.Sprintf("%d stages", len(p.Stages)), fmt.Sprintf("a plan has 1 to %d", maxStages))
	}
	stages, groups := map[string]string{}, map[string]string{}
	for i := range p.Stages {
		key := fmt.Sprintf("stages[%d]", i)
		k.name(key+".name", "stage", p.Stages[i].Name)
		k.unique(stages, p.Stages[i].Name, key+".name")
		k.stage(key, &p.Stages[i], groups)
	}
	if len(groups) == 0 && len(p.Stages) > 0 {
		k.add("stages", "no stage names a group", "groups: [{name: GROUP}]")
	}
	for kind := catalog.RunTest; kind <= catalog.RunUnplanned; kind++ {
		if n := len(p.Steps(kind, catalog.RunFailover)); n > catalog.MaxRunSteps {
			k.add("stages", fmt.Sprintf("%d steps", n), fmt.Sprintf("at most %d", catalog.MaxRunSteps))
			return
		}
	}
}

func (k *checker) kinds(key string, kinds []catalog.RunKind) {
	seen := map[string]string{}
	for i, w := range kinds {
		k.unique(seen, w.String(), fmt.Sprintf("%s[%d]", key, i))
	}
}

func (k *checker) stage(key string, s *Stage, groups map[string]string) {
	if len(s.Pre)+len(s.Groups)+len(s.Post)+len(s.Cleanup) == 0 {
		k.add(key, "does nothing", "pre, groups, post or cleanup")
	}
	for i, g := range s.Groups {
		at := fmt.Sprintf("%s.groups[%d]", key, i)
		k.name(at+".name", "group", g.Name)
		k.unique(groups, g.Name, at+".name")
		k.optionalName(at+".node", "node", g.Node)
	}
	names := map[string]string{}
	for _, l := range s.lists() {
		for i := range l.actions {
			at := fmt.Sprintf("%s.%s[%d]", key, l.name, i)
			a := &l.actions[i]
			k.name(at+".name", "action", a.Name)
			k.unique(names, a.Name, at+".name")
			k.action(at, a, l.name == "cleanup")
		}
	}
}

// actionList is one of a stage's lists of actions.
type actionList struct {
	name    string
	actions []Action
}

func (s *Stage) lists() []actionList {
	return []actionList{{"pre", s.Pre}, {"post", s.Post}, {"cleanup", s.Cleanup}}
}

func (k *checker) action(key string, a *Action, cleanup bool) {
	k.kinds(key+".when", a.When)
	switch {
	case a.Script == "" && a.Confirm == "":
		k.add(key, "does nothing", "script: FILE or confirm: TEXT")
	case a.Script != "" && a.Confirm != "":
		k.add(key+".confirm", "is given, and script too", "two actions, one after the other")
	case a.Script != "":
		k.script(key, a)
	default:
		k.confirm(key, a, cleanup)
	}
	if a.OnError != "" && a.OnError != "stop" && a.OnError != "continue" {
		k.add(key+".on_error", strconv.Quote(a.OnError)+" is not valid", "stop or continue")
	}
	if a.Timeout != nil && (a.Timeout.Std() < minTimeout || a.Timeout.Std() > hook.MaxLimit) {
		k.add(key+".timeout", a.Timeout.String()+" is out of range", fmt.Sprintf("%s to %s", minTimeout, hook.MaxLimit))
	}
	switch {
	case a.Direction == catalog.RunFailback && cleanup:
		k.add(key+".direction", "a failback has no cleanup", "")
	case a.Direction == catalog.RunFailback && len(a.When) > 0 && !slices.Contains(a.When, catalog.RunPlanned):
		k.add(key+".when", "the action never runs", "a failback is always planned")
	}
}

func (k *checker) script(key string, a *Action) {
	k.name(key+".script", "script", a.Script)
	k.optionalName(key+".node", "node", a.Node)
	if a.Node == "" && k.p.Node == "" {
		k.add(key+".node", "is missing", "the node whose script folder holds "+a.Script+"; or node: of the plan")
	}
	if len(a.Args) > maxArgs {
		k.add(key+".args", fmt.Sprintf("%d arguments", len(a.Args)), fmt.Sprintf("at most %d", maxArgs))
	}
	for i, arg := range a.Args {
		k.text(fmt.Sprintf("%s.args[%d]", key, i), arg)
	}
	if len(a.Operators) > 0 {
		k.add(key+".operators", "is for confirmations", "")
	}
}

func (k *checker) confirm(key string, a *Action, cleanup bool) {
	k.text(key+".confirm", a.Confirm)
	for what, given := range map[string]bool{"args": len(a.Args) > 0, "node": a.Node != "", "leave": a.Leave} {
		if given {
			k.add(key+"."+what, "is for scripts", "")
		}
	}
	for i, o := range a.Operators {
		k.name(fmt.Sprintf("%s.operators[%d]", key, i), "operator", o)
	}
	if cleanup {
		k.add(key+".confirm", "a cleanup waits for nobody", "a script only")
	}
	for _, kind := range k.p.Unattended {
		if a.runs(kind, catalog.RunFailover) || kind == catalog.RunPlanned && a.runs(kind, catalog.RunFailback) {
			k.add(key+".confirm", "waits for an operator, but "+kind.String()+" runs are unattended", "say when: with the other kinds")
		}
	}
}
