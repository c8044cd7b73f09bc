package export

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/history"
)

// perform does the step of j that is under way. Steps that the catalog makes by
// itself when the job begins are not here.
func (m *Manager) perform(ctx context.Context, g catalog.Group, j catalog.Job) (done, error) {
	switch j.Step {
	case catalog.StepShip:
		return m.waitSource(ctx, j, catchUpTimeout)
	case catalog.StepQuiesce:
		return m.waitSource(ctx, j, time.Duration(j.Limit))
	case catalog.StepDrain:
		return m.drained(ctx, j)
	case catalog.StepCompare:
		return m.compare(ctx, j)
	case catalog.StepPromote:
		return m.promotion(g, j)
	case catalog.StepExport:
		return m.exported(ctx, g, j)
	case catalog.StepConnect:
		return m.connected(ctx, g)
	case catalog.StepCatchUp:
		return m.caughtUp(ctx, g)
	case catalog.StepSwitch:
		return m.switched(ctx, g)
	case catalog.StepWriter:
		return m.written(ctx, g)
	case catalog.StepClose:
		return done{note: "the disks of node " + string(m.o.ID) + " are closed"}, m.dropProduction(g.ID)
	}
	return done{}, &redoubt.Error{Op: "carry out " + j.Kind.String(), Object: string(g.ID), Err: fmt.Errorf("step %s: %w", j.Step, redoubt.ErrVersion), Hint: "run the same version on all nodes"}
}

// exported opens the promoted point's disks, unless they are open or about to
// be: what has a spec on disk is opened by reopen.
func (m *Manager) exported(ctx context.Context, g catalog.Group, j catalog.Job) (done, error) {
	out := done{note: "exported by node " + string(m.o.ID)}
	if g.Writer != catalog.TargetWriter(m.o.ID) {
		return done{}, &redoubt.Error{Op: "export", Object: string(g.ID), Err: fmt.Errorf("%s writes the group: %w", g.Writer, redoubt.ErrState)}
	}
	if p, err := m.production(g.ID); err == nil && p.Epoch == g.Epoch {
		return m.withPause(out, j), nil
	}
	if _, err := os.Stat(filepath.Join(m.dir(Spec{Group: g.ID, ID: epochID(g.Epoch)}), specFile)); err == nil {
		return done{}, &redoubt.Error{Op: "export", Object: string(g.ID), Err: fmt.Errorf("it is being opened: %w", redoubt.ErrUnavailable)}
	}
	_, when, err := m.o.Store.History().Resolve(ctx, g.ID, history.PointSpec{Position: g.Promoted, Before: g.Before})
	if err != nil {
		return done{}, err
	}
	if _, err := m.openProduction(ctx, g, when, j.Hydrate); err != nil {
		return done{}, err
	}
	return m.withPause(out, j), nil
}

func (m *Manager) withPause(d done, j catalog.Job) done {
	if j.Kind == catalog.JobPlanned {
		d.held = m.paused(j)
		d.note += "; nobody could write for " + d.held.Round(time.Millisecond).String()
	}
	return d
}

// connected waits until the old primary has answered.
func (m *Manager) connected(ctx context.Context, g catalog.Group) (done, error) {
	p, err := m.production(g.ID)
	if err != nil {
		return done{}, err
	}
	r, err := p.startReverse(g)
	if err != nil {
		return done{}, err
	}
	plan, err := r.await(ctx)
	return done{note: plan.String()}, err
}

// String says in a line what there is to ship.
func (r Resync) String() string {
	if r.Start == 0 {
		return r.Peer + " is equal and follows"
	}
	return fmt.Sprintf("%s differs in %d bytes", r.Peer, r.Bytes)
}

func epochID(e redoubt.Epoch) string { return "epoch-" + e.String() }
