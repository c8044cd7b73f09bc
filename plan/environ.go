package plan

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// maxExports bounds REDOUBT_EXPORTS, in bytes: the kernel takes 128 KiB.
const maxExports = 100 << 10

// formatDisks writes a line for each disk: group, disk, node, URI, position and
// time, with tabs between.
func formatDisks(ds []Disk) []byte {
	var b bytes.Buffer
	for _, d := range ds {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Group, d.Name, cmp.Or(d.Node, "-"), cmp.Or(d.URI, "-"), cmp.Or(d.Position, "-"), stamp(d.Time))
	}
	return b.Bytes()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// environ is what a script of the run is told. docs/PLANS.md lists it.
func environ(r *catalog.Run, s Step, attempt uint64) ([]string, error) {
	var exports strings.Builder
	for i := range r.Steps {
		if st := &r.Steps[i]; st.Type == catalog.TaskGroup && st.State == catalog.TaskDone {
			exports.Write(st.Output)
		}
	}
	if exports.Len() > maxExports {
		return nil, &redoubt.Error{Op: "run script of", Object: s.Key, Err: fmt.Errorf("%d bytes of exports do not fit the environment: %w", exports.Len(), redoubt.ErrInvalid),
			Hint: "fewer disks in one plan"}
	}
	return hook.Environ(
		"REDOUBT_PLAN", r.Plan, "REDOUBT_RUN", r.ID(), "REDOUBT_STEP", s.Key, "REDOUBT_STAGE", s.Stage, "REDOUBT_ATTEMPT", strconv.FormatUint(attempt, 10),
		"REDOUBT_KIND", r.Kind.String(), "REDOUBT_DIRECTION", r.Direction.String(), "REDOUBT_POINT", r.Point, "REDOUBT_NODE", s.Node,
		"REDOUBT_EXPORTS", exports.String(),
	), nil
}
