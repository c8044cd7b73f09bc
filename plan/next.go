package plan

import (
	"strings"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Next names the commands that a run waits for or allows: confirm, resume,
// cancel, cleanup.
func Next(r *catalog.Run) (out []string) {
	for i := range r.Steps {
		if r.State == catalog.RunRunning && r.Steps[i].State == catalog.TaskWaiting {
			out = append(out, "confirm")
			break
		}
	}
	test := r.Kind == catalog.RunTest
	switch r.State {
	case catalog.RunStopped:
		out = append(out, "resume", "cancel")
	case catalog.RunFailed:
		out = append(out, "resume")
	case catalog.RunRunning:
		out = append(out, "cancel")
	}
	if test && (r.State == catalog.RunStopped || r.State == catalog.RunDone || r.State == catalog.RunFailed) {
		out = append(out, "cleanup")
	}
	return out
}

// What says in one line what the step does.
func (s *Step) What() string {
	switch {
	case s.Group != nil:
		return "group " + s.Group.Name
	case s.Action.Confirm != "":
		line, _, _ := strings.Cut(strings.TrimSpace(s.Action.Confirm), "\n")
		return "ask: " + line
	}
	return strings.Join(append([]string{s.Action.Script}, s.Action.Args...), " ")
}
