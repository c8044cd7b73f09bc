package thin

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// Loop keeps the history of the groups that this node owns as their policies
// say, until the context of New is over.
func (th *Thinner) Loop() {
	t := time.NewTicker(th.o.Tick)
	defer t.Stop()
	tried := map[redoubt.GroupID]time.Time{}
	for {
		select {
		case <-th.ctx.Done():
			return
		case <-t.C:
		}
		for _, g := range th.o.Catalog.Groups() {
			if g.Owner != th.o.Self || g.Baseline == 0 {
				continue
			}
			// A plan under way goes on at once, a new one is made at intervals.
			if th.o.Catalog.Retention(g.ID).Plan == nil && time.Since(tried[g.ID]) < th.o.Every {
				continue
			}
			tried[g.ID] = time.Now()
			err := th.Retain(th.ctx, g.ID)
			th.noteRetain(g.ID, err)
		}
	}
}

// noteRetain remembers why a group is not thinned, and says it once.
func (th *Thinner) noteRetain(id redoubt.GroupID, err error) {
	if errors.Is(err, redoubt.ErrFenced) || th.ctx.Err() != nil {
		err = nil // something else came first; it is looked at again
	}
	th.mu.Lock()
	before := th.stuck[id]
	if err == nil {
		delete(th.stuck, id)
	} else {
		th.stuck[id] = err
	}
	th.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		th.o.Logger.Warn("history is not thinned; tried again", "group", id, "err", err, "hint", redoubt.Hint(err))
	}
}

// Retain carries out the group's policy as far as it is due: it ends the plan
// under way, if there is one, then makes the next one and carries it out. Only
// the group's owner may. ErrState: the clock went forward too far, or the group
// is in a failover.
func (th *Thinner) Retain(ctx context.Context, id redoubt.GroupID) error {
	th.retaining.Lock()
	defer th.retaining.Unlock()
	if err := th.runPlan(ctx, id); err != nil {
		return err
	}
	begun, err := th.Begin(ctx, id)
	if err != nil || !begun {
		return err
	}
	return th.runPlan(ctx, id)
}

// Begin stores the next plan, if anything can go; it reports whether it did. Only the
// group's owner does.
func (th *Thinner) Begin(ctx context.Context, id redoubt.GroupID) (bool, error) {
	if err := th.o.Cluster.Barrier(ctx); err != nil {
		return false, err
	}
	g, err := th.o.History.Group(id)
	if err != nil || g.Owner != th.o.Self || g.Baseline == 0 {
		return false, err
	}
	if r := th.o.Catalog.Retention(id); th.o.Policy != nil && !r.Set && r.Policy.String() != th.o.Policy.String() {
		if _, err := th.o.Cluster.Propose(ctx, catalog.SetPolicy{Group: id, Policy: *th.o.Policy, Default: true}); err != nil {
			return false, err
		}
	}
	now := th.o.History.Clock(&g)
	if now > th.o.Catalog.Retention(id).Clock {
		if _, err := th.o.Cluster.Propose(ctx, catalog.AdvanceClock{Group: id, To: now}); err != nil {
			return false, err
		}
	}
	o, err := th.decide(ctx, id, nil, th.o.Catalog.Retention(id).Clock)
	if err != nil {
		return false, err
	}
	changes, err := o.changes(ctx, th)
	if err != nil || len(changes) == 0 {
		return false, err
	}
	_, err = th.o.Cluster.Propose(ctx, catalog.BeginPlan{Group: id, OwnerTerm: o.g.OwnerTerm, ID: o.r.Plans + 1, Gen: o.r.Gen, Now: o.now,
		Changes: changes, Marks: o.marksKept(changes), Work: o.work(th, changes)})
	return err == nil, err
}

// runPlan carries out the plan under way.
func (th *Thinner) runPlan(ctx context.Context, id redoubt.GroupID) error {
	comp := ship.NewCompressor(ship.CodecZstd)
	for ctx.Err() == nil {
		g, err := th.o.History.Group(id)
		if err != nil {
			return err
		}
		r := th.o.Catalog.Retention(id)
		if r.Plan == nil || g.Owner != th.o.Self {
			return nil
		}
		err = th.step(ctx, &g, &r, comp)
		if errors.Is(err, redoubt.ErrGap) || errors.Is(err, redoubt.ErrFenced) {
			// Done before, with an answer that was lost, or the group moved on.
			err = th.o.Cluster.Barrier(ctx)
			if now, ok := th.o.Catalog.Group(id); err == nil && ok && now.OwnerTerm == g.OwnerTerm && now.Epoch == g.Epoch && r.Plan == th.o.Catalog.Retention(id).Plan {
				return &redoubt.Error{Op: "carry out retention plan of group", Object: string(id), Err: redoubt.ErrState, Hint: "the catalog refuses the plan's next step"}
			}
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Step carries out one step of the plan under way and says in which phase that was;
// 0: there is none. It is what Retain does again and again.
func (th *Thinner) Step(ctx context.Context, id redoubt.GroupID) (catalog.Phase, error) {
	g, err := th.o.History.Group(id)
	if err != nil {
		return 0, err
	}
	r := th.o.Catalog.Retention(id)
	if r.Plan == nil {
		return 0, nil
	}
	return r.Plan.Phase, th.step(ctx, &g, &r, ship.NewCompressor(ship.CodecZstd))
}

func (th *Thinner) step(ctx context.Context, g *catalog.Group, r *catalog.Retention, comp *ship.Compressor) error {
	if r.Plan.Phase == catalog.PhaseAnnounced {
		return th.announce(ctx, g, r)
	}
	k := &worker{th: th, g: g, r: r, x: th.o.History.Reach(g, r), plan: r.Plan, comp: comp}
	return k.step(ctx)
}

// announce asks all nodes which points they read, and lets the plan go on
// without those.
func (th *Thinner) announce(ctx context.Context, g *catalog.Group, r *catalog.Retention) error {
	open, err := th.askLeases(ctx, g.ID, r.Plan.ID)
	if err != nil {
		return err
	}
	c := catalog.AdvancePlan{Group: g.ID, OwnerTerm: g.OwnerTerm, ID: r.Plan.ID}
	before := catalog.Retention{Tracks: r.Plan.Before}
	for p := range open {
		p = g.Written(p)
		if r.Has(p) || !before.Has(p) {
			continue
		}
		at, err := th.o.History.TimeOf(ctx, g, &before, p)
		if err != nil {
			return err
		}
		c.Open = append(c.Open, catalog.OpenPoint{Position: p, Time: at})
	}
	_, err = th.o.Cluster.Propose(ctx, c)
	return err
}

// throttle waits as long as n bytes may take on top of ingest.
func (th *Thinner) throttle(n int64) { _ = th.o.Pace.Wait(th.ctx, n) } // its error is the end of th
