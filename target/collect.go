package target

import (
	"context"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// logSlack is the part of the sealed shard log files that may be dead before
// the emptiest one is written anew.
const logSlack = 0.15

// collectBatch is how many shards are forgotten at once.
const collectBatch = 1 << 14

// eraseSlack is logSlack while points are deleted that an operator wants gone.
const eraseSlack = 0.01

// collect gives back the space of shards that the catalog names no more, until
// Close.
func (s *Store) collect() {
	if !pace.AfterStart(s.ctx, s.o.Tick) {
		return
	}
	t := time.NewTicker(s.o.Tick)
	defer t.Stop()
	seen := map[redoubt.GroupID]uint64{}
	for first := true; ; first = false {
		changed := first
		for _, g := range s.catalog.Groups() {
			r := s.catalog.Retention(g.ID)
			mark := r.Plans << 32
			if r.Plan != nil {
				mark += 1 + r.Plan.Left()
			}
			if st := s.catalog.Standing(g.ID); slices.Contains(st.Left, s.o.ID) {
				mark |= 1 << 63
			}
			if seen[g.ID] != mark {
				seen[g.ID], changed = mark, true
			}
		}
		if changed {
			err := s.Collect(s.ctx)
			if err == nil {
				err = s.reportErased(s.ctx)
			}
			if err != nil && s.ctx.Err() == nil {
				s.o.Logger.Warn("dead shards are not collected; tried again", "err", err, "hint", redoubt.Hint(err))
				clear(seen)
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Collect forgets this node's shards that the catalog names no more, and gives
// back the space of log files with too much of that.
func (s *Store) Collect(ctx context.Context) error {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	if err := s.node.Barrier(ctx); err != nil {
		return err
	}
	var err error
	var easy pace.Easy
	var dead []segment.ID
	if eerr := s.log.Each(func(i segment.Info) bool {
		if s.dead(i.ID) {
			dead = append(dead, i.ID)
		}
		if len(dead) == collectBatch {
			err = s.discard(ctx, dead)
			dead = dead[:0]
		}
		return err == nil && easy.Step(ctx)
	}); eerr != nil {
		return eerr
	}
	if err == nil {
		err = s.discard(ctx, dead)
	}
	if err != nil {
		return err
	}
	slack := logSlack
	if s.erasing() {
		slack = eraseSlack
	}
	for range s.log.Stats().Files { // each at most once: what comes then waits for the next time
		n, err := s.log.Reclaim(ctx, slack, s.throttle)
		if err != nil || n == 0 {
			return err
		}
		s.counter.reclaimed.Add(uint64(n))
	}
	return ctx.Err()
}

// discard forgets the shards that are dead. First the list, then the barrier: a
// shard that was there before is named by the catalog behind the barrier, or its
// plan is, or it is dead.
func (s *Store) discard(ctx context.Context, ids []segment.ID) error {
	if len(ids) == 0 {
		return nil
	}
	if err := s.node.Barrier(ctx); err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id segment.ID) bool { return !s.dead(id) })
	s.counter.discarded.Add(uint64(len(ids)))
	return s.log.Discard(ids...)
}

// dead reports whether no one will ever ask for the shard: its place in the
// history is taken by another delta, or nothing is left of it, and no plan is
// about to put it there.
func (s *Store) dead(id segment.ID) bool {
	g, ok := s.catalog.Group(id.Group)
	if !ok || g.UUID != id.UUID {
		return false
	}
	if id.Epoch < s.catalog.Standing(id.Group).Erased {
		return true
	}
	sgs := s.catalog.Segments(id.Group, id.Epoch, id.Ordinal, 1)
	if len(sgs) == 0 || sgs[0].CRC == id.CRC && !sgs[0].Gone() {
		return false
	}
	return sgs[0].Gone() || !s.planned(id)
}

// planned reports whether the plan under way may replace the shard's segment:
// then the shard may be of what is left, on its way to a commit.
func (s *Store) planned(id segment.ID) bool {
	p := s.catalog.Retention(id.Group).Plan
	return p != nil && slices.ContainsFunc(p.Work, func(w catalog.Work) bool {
		return w.Epoch == id.Epoch && id.Ordinal >= w.From && id.Ordinal < w.To
	})
}
