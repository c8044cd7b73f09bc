package shards

import (
	"context"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
)

// A read that failed waits for news of the catalog for lookAgain at most.
// Without a majority there is none, and the reader shall hear of its error: so
// after a wait in vain nobody waits for noNews.
const (
	lookAgain = 2 * time.Second
	noNews    = 30 * time.Second
)

// Outdated reports whether a read that failed shall be done again, since the
// segment was thinned or has moved meanwhile: what it read is not there any more.
func (s *Site) Outdated(ctx context.Context, sr index.Series, sg *catalog.Segment) bool {
	if ctx.Err() != nil {
		return false
	}
	changed := func() bool {
		now, err := s.Segment(sr, sg.Ordinal)
		return err == nil && (now.CRC != sg.CRC || now.Gone() != sg.Gone() || !slices.Equal(now.Nodes, sg.Nodes))
	}
	if changed() {
		return true
	}
	if time.Now().UnixNano() < s.deafUntil.Load() {
		return false
	}
	wait, cancel := context.WithTimeout(ctx, lookAgain)
	defer cancel()
	if err := s.o.Cluster.Barrier(wait); err != nil {
		if ctx.Err() == nil {
			s.deafUntil.Store(time.Now().Add(noNews).UnixNano())
		}
		return false
	}
	s.deafUntil.Store(0)
	return changed()
}
