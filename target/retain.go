package target

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// retain keeps the history of the groups that this node owns as their policies
// say, until Close.
func (s *Store) retain() {
	t := time.NewTicker(s.o.Tick)
	defer t.Stop()
	tried := map[redoubt.GroupID]time.Time{}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		for _, g := range s.catalog.Groups() {
			if g.Owner != s.o.ID || g.Baseline == 0 {
				continue
			}
			// A plan under way goes on at once, a new one is made at intervals.
			if s.catalog.Retention(g.ID).Plan == nil && time.Since(tried[g.ID]) < s.o.RetainEvery {
				continue
			}
			tried[g.ID] = time.Now()
			err := s.Retain(s.ctx, g.ID)
			s.noteRetain(g.ID, err)
		}
	}
}

// noteRetain remembers why a group is not thinned, and says it once.
func (s *Store) noteRetain(id redoubt.GroupID, err error) {
	if errors.Is(err, redoubt.ErrFenced) || s.ctx.Err() != nil {
		err = nil // something else came first; it is looked at again
	}
	s.mu.Lock()
	before := s.stuck[id]
	if err == nil {
		delete(s.stuck, id)
	} else {
		s.stuck[id] = err
	}
	s.mu.Unlock()
	if err != nil && (before == nil || before.Error() != err.Error()) {
		s.o.Logger.Warn("history is not thinned; tried again", "group", id, "err", err, "hint", redoubt.Hint(err))
	}
}

// Retain carries out the group's policy as far as it is due: it ends the plan
// under way, if there is one, then makes the next one and carries it out. Only
// the group's owner may. ErrState: the clock went forward too far, or the group
// is in a failover.
func (s *Store) Retain(ctx context.Context, id redoubt.GroupID) error {
	s.retaining.Lock()
	defer s.retaining.Unlock()
	if err := s.runPlan(ctx, id); err != nil {
		return err
	}
	begun, err := s.beginPlan(ctx, id)
	if err != nil || !begun {
		return err
	}
	return s.runPlan(ctx, id)
}

// retentionNow is the time that retention reckons with: that of the newest
// committed write, or of this node's clock if that is behind. So a clock that
// runs ahead, here or at the source, makes nothing older than it is, and while
// nothing is written nothing is dropped.
func (s *Store) retentionNow(g *catalog.Group) int64 {
	return min(s.o.Now().UnixNano(), g.CommittedTime)
}

// beginPlan stores the next plan, if anything can go.
func (s *Store) beginPlan(ctx context.Context, id redoubt.GroupID) (bool, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return false, err
	}
	g, err := s.group(id)
	if err != nil || g.Owner != s.o.ID || g.Baseline == 0 {
		return false, err
	}
	if r := s.catalog.Retention(id); s.o.Policy != nil && !r.Set && r.Policy.String() != s.o.Policy.String() {
		if _, err := s.node.Propose(ctx, catalog.SetPolicy{Group: id, Policy: *s.o.Policy, Default: true}); err != nil {
			return false, err
		}
	}
	now := s.retentionNow(&g)
	if now > s.catalog.Retention(id).Clock {
		if _, err := s.node.Propose(ctx, catalog.AdvanceClock{Group: id, To: now}); err != nil {
			return false, err
		}
	}
	o, err := s.decide(ctx, id, nil, s.catalog.Retention(id).Clock)
	if err != nil {
		return false, err
	}
	changes, err := o.changes(ctx, s)
	if err != nil || len(changes) == 0 {
		return false, err
	}
	_, err = s.node.Propose(ctx, catalog.BeginPlan{Group: id, OwnerTerm: o.g.OwnerTerm, ID: o.r.Plans + 1, Gen: o.r.Gen, Now: o.now,
		Changes: changes, Marks: o.marksKept(changes), Work: o.work(s, changes)})
	return err == nil, err
}

// runPlan carries out the plan under way.
func (s *Store) runPlan(ctx context.Context, id redoubt.GroupID) error {
	comp := ship.NewCompressor(ship.CodecZstd)
	for ctx.Err() == nil {
		g, err := s.group(id)
		if err != nil {
			return err
		}
		r := s.catalog.Retention(id)
		switch {
		case r.Plan == nil || g.Owner != s.o.ID:
			return nil
		case r.Plan.Phase == catalog.PhaseAnnounced:
			err = s.announce(ctx, &g, &r)
		default:
			t := &thinner{s: s, x: s.reachOf(&g, &r), plan: r.Plan, comp: comp, batch: thinBatch}
			err = t.step(ctx)
		}
		if errors.Is(err, redoubt.ErrGap) || errors.Is(err, redoubt.ErrFenced) {
			// Done before, with an answer that was lost, or the group moved on.
			err = s.node.Barrier(ctx)
			if now, ok := s.catalog.Group(id); err == nil && ok && now.OwnerTerm == g.OwnerTerm && now.Epoch == g.Epoch && r.Plan == s.catalog.Retention(id).Plan {
				return &redoubt.Error{Op: "carry out retention plan of group", Object: string(id), Err: redoubt.ErrState, Hint: "the catalog refuses the plan's next step"}
			}
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// announce asks all nodes which points they read, and lets the plan go on
// without those.
func (s *Store) announce(ctx context.Context, g *catalog.Group, r *catalog.Retention) error {
	open, err := s.askLeases(ctx, g.ID, r.Plan.ID)
	if err != nil {
		return err
	}
	c := catalog.AdvancePlan{Group: g.ID, OwnerTerm: g.OwnerTerm, ID: r.Plan.ID}
	before := catalog.Retention{Tracks: r.Plan.Before}
	o := &outlook{g: *g, r: before}
	for p := range open {
		p = g.Written(p)
		if r.Has(p) || !before.Has(p) {
			continue
		}
		at, err := o.timeOf(ctx, s, p)
		if err != nil {
			return err
		}
		c.Open = append(c.Open, catalog.OpenPoint{Position: p, Time: at})
	}
	_, err = s.node.Propose(ctx, c)
	return err
}

// throttle waits as long as n bytes may take on top of ingest. What retention
// writes and what repair writes share a rate.
func (s *Store) throttle(n int64) { _ = s.repair.Pace().Wait(s.ctx, n) } // its error is the end of s
