package target

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// commitTimeout bounds one proposal. A stream whose commit has no answer by
// then ends: the sender comes back and learns what was committed.
const commitTimeout = 30 * time.Second

// commit is the committer: it takes what is ready of all streams, in the order
// of each, and commits it with one proposal. While one is under way the next
// deltas become durable.
func (s *Store) commit() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.kick:
		}
		for s.ctx.Err() == nil {
			batches, items := s.readyItems()
			if len(batches) == 0 {
				break
			}
			s.propose(batches, items)
		}
	}
}

func (s *Store) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// readyItems collects the prefix of each stream whose shards are durable.
func (s *Store) readyItems() ([]catalog.SegmentBatch, [][]*item) {
	s.mu.Lock()
	streams := make([]*stream, 0, len(s.streams))
	for _, st := range s.streams {
		streams = append(streams, st)
	}
	s.mu.Unlock()
	var batches []catalog.SegmentBatch
	var items [][]*item
	room := catalog.MaxBatch
	for _, st := range streams {
		its := st.takeReady(room)
		if len(its) == 0 {
			continue
		}
		b := catalog.SegmentBatch{Group: st.group, Epoch: st.series.Epoch, OwnerTerm: st.term}
		for _, it := range its {
			b.Segments = append(b.Segments, it.seg)
		}
		room -= len(its)
		batches, items = append(batches, b), append(items, its)
	}
	return batches, items
}

// propose commits the batches and tells the streams.
func (s *Store) propose(batches []catalog.SegmentBatch, items [][]*item) {
	ctx, cancel := context.WithTimeout(s.ctx, commitTimeout)
	defer cancel()
	v, err := s.node.Propose(ctx, catalog.CommitSegments{Batches: batches})
	results, _ := v.([]catalog.CommitResult)
	if err == nil {
		crashpoint.Here("target.delta.committed")
	}
	for i, its := range items {
		st := its[0].st
		err := err
		switch {
		case err != nil:
		case i >= len(results):
			err = &redoubt.Error{Op: "commit segments", Object: string(st.group), Err: redoubt.ErrUnavailable, Hint: "the answer of the cluster is short"}
		default:
			err = results[i].Err
		}
		st.committed(its, err)
	}
}
