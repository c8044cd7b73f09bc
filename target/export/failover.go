package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/target/history"
)

// Failover makes a point of the group the production of this node: the epoch
// is raised in the catalog first, then the disks are opened writable. The old
// writer is refused from that moment on. hydrate has the disks copied to this
// node, whatever the policy says.
func (m *Manager) Failover(ctx context.Context, id redoubt.GroupID, at history.PointSpec, hydrate bool) (*Instance, error) {
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := g.Permits(catalog.OpUnplannedFailover); err != nil {
		return nil, err
	}
	if g.State == catalog.StateReverseReplicating || g.Prior == catalog.StateReverseReplicating {
		return nil, &redoubt.Error{Op: "unplanned failover", Object: string(g.ID), Err: fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState),
			Hint: "production is at the secondary already; redoubt failback moves it to the primary"}
	}
	return m.promote(ctx, g, catalog.JobUnplanned, catalog.PromoteUnplanned, at, hydrate)
}

// Change opens another point instead of the one that was failed over to. What
// was written since the failover stays in the history, as a branch.
func (m *Manager) Change(ctx context.Context, id redoubt.GroupID, at history.PointSpec, hydrate bool) (*Instance, error) {
	defer m.hold(id)()
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := g.Permits(catalog.OpChangeRecoveryPoint); err != nil {
		return nil, err
	}
	// The points to choose from are those of the history before the failover.
	at.Before = g.Before
	return m.promote(ctx, g, catalog.JobChange, catalog.PromoteChange, at, hydrate)
}

func (m *Manager) promote(ctx context.Context, g catalog.Group, job catalog.JobKind, kind catalog.PromoteKind, at history.PointSpec, hydrate bool) (*Instance, error) {
	point, when, err := m.o.Store.History().Resolve(ctx, g.ID, at)
	if err != nil {
		return nil, err
	}
	head, headTime, contact := m.known(g)
	release := m.hold(g.ID)
	r, after, err := m.start(ctx, g, catalog.BeginJob{Kind: job, Hydrate: hydrate, Note: fmt.Sprintf("point %s, epoch %d", point, g.Epoch+1), Do: catalog.Promote{
		Group: g.ID, Kind: kind, Point: point, NewEpoch: g.Epoch + 1, Writer: catalog.TargetWriter(m.o.ID),
		KnownHead: head, KnownHeadTime: headTime, LastContact: contact, Now: m.o.Now().UnixNano(),
	}})
	if err != nil {
		release()
		return nil, err
	}
	crashpoint.Here(crashpoint.Step(job.String(), catalog.StepExport.String(), "before"))
	in, err := m.openProduction(ctx, after, when, hydrate)
	if err != nil {
		release()
		return nil, err
	}
	crashpoint.Here(crashpoint.Step(job.String(), catalog.StepExport.String(), "effect"))
	m.finish(r, catalog.StepExport, "exported by node "+string(m.o.ID), release)
	m.o.Logger.Warn("failed over", "group", string(g.ID), "point", point.String(), "epoch", after.Epoch, "known_head", after.KnownHead)
	return in, nil
}

// openProduction opens the point that g was promoted at, whose last write was
// made at when, as g's production here.
func (m *Manager) openProduction(ctx context.Context, g catalog.Group, when time.Time, hydrate bool) (*Instance, error) {
	if err := m.dropProduction(g.ID); err != nil {
		m.o.Logger.Error("the export of the former point could not be removed", "group", string(g.ID), "err", err)
	}
	spec := Spec{
		Version: specVersion, Kind: KindFailover, Group: g.ID, UUID: g.UUID, Disks: m.o.Node.Catalog().DisksAt(g.ID, g.Promoted),
		ID: epochID(g.Epoch), Point: g.Promoted, Epoch: g.Epoch, Time: when, Created: m.o.Now(),
		Hydrate: hydrate || m.o.Hydrate != HydrateNone,
	}
	dir := m.dir(spec)
	if err := writeSpec(dir, spec); err != nil {
		return nil, err
	}
	crashpoint.Here("target.export.spec")
	in, err := m.open(ctx, spec, dir)
	if err != nil {
		// The promotion stands; the export is opened as soon as it can be.
		m.wg.Go(func() { m.reopen(dir) })
		return nil, err
	}
	return in, m.adopt(in, g)
}

// known returns how far the group's writer is known to have been, the time of
// that write, and since when nothing is known. What the writer said last may be
// older than its last committed write: it says so once a second.
func (m *Manager) known(g catalog.Group) (head redoubt.LSN, headTime, contact int64) {
	head, said, heard := m.o.Store.Head(g.ID)
	headTime, contact = unixNano(said), unixNano(heard)
	if g.Committed.LSN >= head {
		head, headTime = g.Committed.LSN, g.CommittedTime
	}
	return head, headTime, max(contact, headTime)
}

// propose proposes cmd and returns the group as it is after it.
func (m *Manager) propose(ctx context.Context, g catalog.Group, cmd catalog.Command) (catalog.Group, error) {
	if _, err := m.o.Node.Propose(ctx, cmd); err != nil {
		return catalog.Group{}, err
	}
	return m.group(ctx, g.ID)
}

// Commit makes the chosen point final: other points can no longer be chosen.
func (m *Manager) Commit(ctx context.Context, id redoubt.GroupID) (catalog.Group, error) {
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		return catalog.Group{}, err
	}
	defer unlock()
	_, after, err := m.start(ctx, g, catalog.BeginJob{Kind: catalog.JobCommit, Note: "point " + g.Promoted.String() + " is final",
		Do: catalog.CommitFailover{Group: id, Epoch: g.Epoch, Now: m.o.Now().UnixNano()}})
	return after, err
}

// Cancel gives the group back to its source, which goes on where it was. What
// was written at the secondary stays in the history, as a branch. A job that has
// not promoted anything yet is ended, and that is all.
func (m *Manager) Cancel(ctx context.Context, id redoubt.GroupID) (catalog.Group, error) {
	if g, over, err := m.callOff(ctx, id); over || err != nil {
		return g, err
	}
	release := m.hold(id)
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		release()
		return catalog.Group{}, err
	}
	defer unlock()
	r, after, err := m.start(ctx, g, catalog.BeginJob{Kind: catalog.JobCancel, Note: fmt.Sprintf("epoch %d, back to %s", g.Epoch+1, catalog.SourceWriter(g.Source)),
		Do: catalog.CancelFailover{Group: id, NewEpoch: g.Epoch + 1, Now: m.o.Now().UnixNano()}})
	if err != nil {
		release()
		return g, err
	}
	crashpoint.Here(crashpoint.Step(catalog.JobCancel.String(), catalog.StepClose.String(), "before"))
	if err := m.dropProduction(id); err != nil {
		release()
		return after, err
	}
	crashpoint.Here(crashpoint.Step(catalog.JobCancel.String(), catalog.StepClose.String(), "effect"))
	m.finish(r, catalog.StepClose, "the disks of node "+string(m.o.ID)+" are closed", release)
	return after, nil
}

// callOff ends a job that has promoted nothing; over says that there was one.
func (m *Manager) callOff(ctx context.Context, id redoubt.GroupID) (g catalog.Group, over bool, err error) {
	if g, err = m.group(ctx, id); err != nil {
		return g, false, err
	}
	j, ok := m.o.Node.Catalog().RunningJob(id)
	if !ok {
		return g, false, nil
	}
	if over = !j.Promoted() && (j.Kind == catalog.JobPlanned || j.Kind == catalog.JobFailback); !over {
		return g, false, nil
	}
	if _, err := m.CancelJob(ctx, id, j.ID); err != nil && !errors.Is(err, redoubt.ErrState) {
		return g, over, err
	}
	now, err := m.group(ctx, id)
	return now, over && now.Epoch == g.Epoch, err
}

// dropProduction closes and deletes the group's production of this node, if any.
func (m *Manager) dropProduction(id redoubt.GroupID) error {
	m.mu.Lock()
	p := m.prod[id]
	delete(m.prod, id)
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.discard()
}

func (m *Manager) production(id redoubt.GroupID) (*production, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.prod[id]
	if p == nil {
		return nil, &redoubt.Error{Op: "find the failed-over disks of", Object: string(id), Err: redoubt.ErrNotFound,
			Hint: "they are exported by the group's writer; `redoubt group show` names it"}
	}
	return p, nil
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
