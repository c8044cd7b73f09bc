package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
	"github.com/redoubt-dr/redoubt/target/thin"
)

// thinning is what retention works with.
func (s *Store) thinning() thin.Options {
	return thin.Options{Self: s.o.ID, Catalog: s.catalog, Cluster: s.node, History: s.history, Shards: s.shards, Index: s.idx, Peers: s.peers, Leases: s.leases,
		Logger: s.o.Logger, Delta: s.repair.Delta, Put: s.storeThinned, Policy: s.o.Policy, Tick: s.o.Tick, Every: s.o.RetainEvery, Answer: 10 * s.o.PutTimeout,
		Pace: s.repair.Pace(), Free: func() (uint64, error) { return s.o.Free(s.o.Dir) }}
}

// storeThinned makes the shards of d, which is what is left of a segment, durable on
// nodes of their own, as many as the segment has now, and describes it.
func (s *Store) storeThinned(ctx context.Context, sr index.Series, old *catalog.Segment, d *ship.Delta) (catalog.Segment, error) {
	it := &item{d: d, seg: newSegment(d, old.Ordinal, int(old.K), int(old.M))}
	it.users.Store(1)
	defer it.leave()
	it.seg.FirstTime, it.seg.LastTime, it.seg.Baseline = old.FirstTime, old.LastTime, old.Baseline
	all, own, err := s.shards.Split(d.Encoded(), int(old.K), int(old.M))
	if err != nil {
		return catalog.Segment{}, err
	}
	it.own = own
	if it.seg.Nodes, err = s.shards.Homes(old); err != nil {
		return catalog.Segment{}, err
	}
	it.seg.Stored = s.putShards(ctx, sr, it, all)
	if got, want := ones(it.seg.Stored), max(ones(old.Stored), int(old.K)); got < want {
		return catalog.Segment{}, &redoubt.Error{Op: "store thinned segment", Object: shards.SegmentName(sr, old.Ordinal), Err: fmt.Errorf("%d shards are durable, it has %d: %w", got, want, redoubt.ErrUnavailable),
			Hint: "thinning goes on when enough nodes are up"}
	}
	return it.seg, nil
}
