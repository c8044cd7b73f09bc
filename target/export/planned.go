package export

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// DefaultLimit is how long the writers at the source stay stopped before a
// planned failover is called off, unless the operator says otherwise.
const DefaultLimit = 60 * time.Second

// Planned begins a planned failover to this node and returns its job, which is
// driven in the background. fixed: to no other node. limit bounds the time for
// which nobody can write; 0 is DefaultLimit.
func (m *Manager) Planned(ctx context.Context, id redoubt.GroupID, fixed bool, limit time.Duration, hydrate bool) (catalog.Job, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	g, err := m.group(ctx, id)
	if err != nil {
		return catalog.Job{}, err
	}
	if g.State == catalog.StateReverseReplicating {
		return catalog.Job{}, &redoubt.Error{Op: "planned failover", Object: string(id), Err: fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), Hint: "the way back is: redoubt failback " + string(id)}
	}
	m.idle(ctx, id)
	r, _, err := m.start(ctx, g, catalog.BeginJob{Kind: catalog.JobPlanned, Fixed: fixed, Limit: int64(limit), Hydrate: hydrate})
	if err != nil {
		return catalog.Job{}, err
	}
	j, _ := m.o.Node.Catalog().Job(id, r.ID)
	return j, nil
}

// left is how much of the limit of a step that began at began, Unix nanoseconds, is
// left: never more than all of it, though the clock may have been set back since.
func left(limit time.Duration, began int64, now time.Time) time.Duration {
	return limit - max(0, now.Sub(time.Unix(0, began)))
}

// waitSource waits until the source has ended the step, for as long as it may take.
func (m *Manager) waitSource(ctx context.Context, j catalog.Job, limit time.Duration) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, left(limit, j.StepBegan(), m.o.Now()))
	defer cancel()
	for {
		changed := m.o.Node.Catalog().Changed()
		now, ok := m.o.Node.Catalog().Job(j.Group, j.ID)
		if !ok || !now.Running() || now.Step != j.Step {
			return done{moved: true}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			hint := "is the source up, and does it reach the secondary? redoubt status there"
			if now.Total > now.Done {
				hint = fmt.Sprintf("the link does not keep up with the writes: the secondary has %d of %d", now.Done, now.Total)
			}
			return done{}, &redoubt.Error{Op: "wait for the source of", Object: string(j.Group), Err: fmt.Errorf("step %s took longer than %s: %w", j.Step, limit, redoubt.ErrUnavailable), Hint: hint}
		}
	}
}

// drained waits until everything that the source wrote is stored.
func (m *Manager) drained(ctx context.Context, j catalog.Job) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(j.Limit))
	defer cancel()
	want := redoubt.Position{Epoch: j.Epoch, LSN: j.Head}
	for {
		changed := m.o.Node.Catalog().Changed()
		g, _ := m.o.Node.Catalog().Group(j.Group)
		switch {
		case g.Committed == want:
			return done{note: "everything up to " + want.String() + " is stored"}, nil
		case g.Epoch != j.Epoch || g.Committed.LSN > want.LSN:
			return done{}, &redoubt.Error{Op: "drain", Object: string(j.Group), Err: fmt.Errorf("%s is stored, the source said that it stopped at %s: %w", g.Committed, want, redoubt.ErrState),
				Hint: "somebody wrote after the stop; the source goes on"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return done{}, &redoubt.Error{Op: "drain", Object: string(j.Group), Err: fmt.Errorf("%s of %s was stored in %s: %w", g.Committed, want, time.Duration(j.Limit), redoubt.ErrUnavailable),
				Hint: "the link is too slow or broken; --stop-limit allows more time"}
		}
	}
}

// compare reads what the source wrote last and holds it against the source's hash.
func (m *Manager) compare(ctx context.Context, j catalog.Job) (done, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(j.Limit))
	defer cancel()
	p := redoubt.Position{Epoch: j.Epoch, LSN: j.Head}
	v, err := m.o.Store.View(ctx, j.Group, p)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = v.Close() }()
	var xs []ship.DiskExtent
	var n uint64
	for _, x := range j.Proof {
		xs, n = append(xs, ship.DiskExtent(x)), n+x.Extent.Len
	}
	sum, err := ship.HashExtents(xs, v.ReadAt)
	if err != nil {
		return done{}, err
	}
	if !bytes.Equal(sum, j.Sum) {
		return done{}, &redoubt.Error{Op: "compare", Object: string(j.Group), Err: fmt.Errorf("%d bytes in %d extents differ between the source and point %s: %w", n, len(xs), p, redoubt.ErrCorrupt),
			Hint: "the source goes on; compare the whole disks before the next attempt"}
	}
	return done{note: fmt.Sprintf("%d bytes in %d extents are equal on both sides", n, len(xs))}, nil
}

// promotion is the effect that makes this node the writer, at the source's last write.
func (m *Manager) promotion(g catalog.Group, j catalog.Job) (done, error) {
	now := m.o.Now().UnixNano()
	return done{note: fmt.Sprintf("epoch %d, writer %s", g.Epoch+1, catalog.TargetWriter(m.o.ID)), do: catalog.Promote{
		Group: g.ID, Kind: catalog.PromotePlanned, Point: redoubt.Position{Epoch: j.Epoch, LSN: j.Head}, NewEpoch: g.Epoch + 1,
		Writer: catalog.TargetWriter(m.o.ID), KnownHead: j.Head, KnownHeadTime: g.CommittedTime, LastContact: now, Now: now}}, nil
}

// paused is how long nobody could write: until the source told, by its clock,
// and since then by ours.
func (m *Manager) paused(j catalog.Job) time.Duration {
	for _, d := range j.Steps {
		if d.Step == catalog.StepQuiesce {
			return time.Duration(j.Held) + max(0, m.o.Now().Sub(time.Unix(0, d.At)))
		}
	}
	return 0
}
