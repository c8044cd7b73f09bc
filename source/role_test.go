package source

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func TestTakeover(t *testing.T) {
	one := redoubt.Lineage{{Epoch: 1}}
	cancelled := redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: 300}, {Epoch: 3, Parent: 1, At: 500}}
	failedBack := redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: 500}, {Epoch: 3, Parent: 2, At: 650}}
	writer := Role{Mode: ModeWriter, Epoch: 1, Lineage: one}
	fenced := Role{Mode: ModeFenced, Epoch: 1, Lineage: one}
	replica := Role{Mode: ModeReplica, Epoch: 2, Lineage: failedBack[:2], WholeAt: 600}
	for _, c := range []struct {
		name       string
		role       Role
		lineage    redoubt.Lineage
		tail, head redoubt.LSN
		want       error
	}{
		{"cancelled, nothing written since", fenced, cancelled, 400, 500, nil},
		{"cancelled, the writer went on alone", writer, cancelled, 400, 560, nil},
		{"cancelled, but the tail above the fork is gone", writer, cancelled, 510, 560, redoubt.ErrGap},
		{"cancelled twice in one absence", writer, append(cancelled[:3:3], redoubt.Fork{Epoch: 4, Parent: 3, At: 500}), 400, 560, nil},
		{"failed back to the replica", replica, failedBack, 640, 650, nil},
		{"the replica lacks the last writes", replica, failedBack, 640, 649, redoubt.ErrGap},
		{"the replica has more than the fork", replica, failedBack, 640, 651, redoubt.ErrGap},
		{"the copy is not complete", Role{Mode: ModeReplica, Epoch: 2, WholeAt: 660}, failedBack, 640, 650, redoubt.ErrState},
		{"the baseline never came", Role{Mode: ModeReplica, Epoch: 2}, failedBack, 640, 650, redoubt.ErrState},
		{"failed back while this side was never a replica", fenced, failedBack, 400, 560, redoubt.ErrFenced},
		{"cancelled, but the disk is another one", Role{Mode: ModeFenced, Epoch: 1, Lineage: one, Replaced: true}, cancelled, 400, 500, redoubt.ErrState},
		{"cancelled, and the writer went on with another disk", Role{Mode: ModeWriter, Epoch: 1, Lineage: one, Replaced: true}, cancelled, 400, 560, nil},
		{"the replica's disk is another one", Role{Mode: ModeReplica, Epoch: 2, WholeAt: 600, Replaced: true}, failedBack, 640, 650, redoubt.ErrState},
		{"the epoch is on no path", Role{Mode: ModeFenced, Epoch: 2}, cancelled, 400, 400, redoubt.ErrFenced},
		{"not a later epoch", writer, one, 1, 9, redoubt.ErrInvalid},
	} {
		err := c.role.takeover(c.lineage, c.tail, c.head)
		if c.want == nil && err != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err != nil && redoubt.Hint(err) == "" {
			t.Errorf("%s: no hint", c.name)
		}
	}
}
