package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// follow takes over what the catalog says: new segments into the index, and
// new epochs and owners to the streams.
func (s *Store) follow() {
	for {
		changed := s.catalog.Changed()
		for _, g := range s.catalog.Groups() {
			s.checkStream(&g)
			if below := s.catalog.Standing(g.ID).Erased; below != 0 {
				s.idx.Forget(func(sr index.Series) bool { return sr.Group == g.ID && sr.UUID == g.UUID && sr.Epoch < below })
			}
			for _, f := range g.Lineage {
				s.idx.Add(shards.SeriesOf(&g, f.Epoch), s.catalog.SegmentCount(g.ID, f.Epoch))
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-changed:
		}
	}
}

// firstLeft tells the index of which segments nothing is left.
func (s *Store) firstLeft(sr index.Series, from, to uint64) uint64 {
	return s.catalog.FirstLeft(sr.Group, sr.UUID, sr.Epoch, from, to)
}

// checkStream ends the group's stream if it is no longer allowed.
func (s *Store) checkStream(g *catalog.Group) {
	s.mu.Lock()
	st := s.streams[g.ID]
	s.mu.Unlock()
	if st == nil {
		return
	}
	switch {
	case g.Epoch != st.series.Epoch || g.Writer != st.writer || g.UUID != st.series.UUID:
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("epoch %d of %s: %w", g.Epoch, g.Writer, redoubt.ErrFenced)})
	case g.Held():
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), Hint: "the source keeps its writes to itself until it is resumed"})
	case g.Owner != s.o.ID || g.OwnerTerm != st.term:
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("node %s owns the group now: %w", g.Owner, redoubt.ErrUnavailable)})
	default:
		st.noteJob(g)
	}
}

// Entries gives the index the entries of a segment: from the node's own copy of
// its head, or a peer's.
func (s *Store) Entries(ctx context.Context, sr index.Series, ordinal uint64) ([]index.Entry, error) {
	d, err := s.headAt(ctx, sr, ordinal)
	if d == nil {
		return nil, err
	}
	out := make([]index.Entry, 0, len(d.Entries))
	for i := range d.Entries {
		e := &d.Entries[i]
		// A copy entry without data, a baseline or a bookmark changes nothing.
		if e.Extent.Len == 0 || !e.Kind.Zeroes() && !e.HasData() {
			continue
		}
		out = append(out, shards.Entry(e))
	}
	return out, nil
}

// headAt returns the head of a segment as it is now: nil if nothing is left of it.
func (s *Store) headAt(ctx context.Context, sr index.Series, ordinal uint64) (*ship.Delta, error) {
	_, d, err := s.shards.SegmentHead(ctx, sr, ordinal)
	return d, err
}
