package plan

import (
	"strings"

	"github.com/redoubt-dr/redoubt/cluster"
)

// Next names the commands that a run waits for or allows: confirm, resume,
// cancel, cleanup.
func Next(r *cluster.Run) (out []string) {
	for i := range r.Steps {
		if r.State == cluster.RunRunning && r.Steps[i].State == cluster.TaskWaiting {
			out = append(out, "confirm")
			break
		}
	}
	test := r.Kind == cluster.RunTest
	switch r.State {
	case cluster.RunStopped:
		out = append(out, "resume", "cancel")
	case cluster.RunFailed:
		out = append(out, "resume")
	case cluster.RunRunning:
		out = append(out, "cancel")
	}
	if test && (r.State == cluster.RunStopped || r.State == cluster.RunDone || r.State == cluster.RunFailed) {
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
