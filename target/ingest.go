package target

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// item is a delta on its way to become a segment.
type item struct {
	st    *stream
	d     *ship.Delta
	seg   catalog.Segment
	done  func(redoubt.Position, error)
	bytes int64
	begun time.Time
	ready bool // its shards are durable; guarded by st.mu

	users atomic.Int32 // who may still read d or its shards: the stream until done, and each put
	own   [][]byte     // memory of shards that are not ranges of d; set before the puts begin
}

// leave says that one of the users is done. The last one gives the memory back.
func (it *item) leave() {
	if it.users.Add(-1) > 0 {
		return
	}
	for _, b := range it.own {
		slab.Put(b)
	}
	it.d.Release()
}

// newSegment describes d as the segment with this ordinal, before it has nodes.
func newSegment(d *ship.Delta, ordinal uint64, k, m int) catalog.Segment {
	enc := d.Encoded()
	return catalog.Segment{Epoch: d.Epoch, Ordinal: ordinal, First: d.First, Last: d.Last, FirstTime: d.FirstTime, LastTime: d.LastTime,
		Size: uint32(len(enc)), HeadLen: uint32(d.HeadLen()), ShardSize: uint32(shards.Size(len(enc), k)), K: uint8(k), M: uint8(m),
		CRC: d.Sum(), Baseline: baselineOf(d)}
}

// baselineOf returns the baseline as the catalog wants it: it never lies before
// the segment that tells it.
func baselineOf(d *ship.Delta) redoubt.LSN {
	if d.Baseline == 0 {
		return 0
	}
	return max(d.Baseline, d.First)
}

// store makes the item's shards durable on its nodes. It returns an error only
// when the stream is over: with too few nodes it goes on trying.
func (s *Store) store(ctx context.Context, it *item) error {
	sr := it.st.series
	k, m := int(it.seg.K), int(it.seg.M)
	shards, own, err := s.shards.Split(it.d.Encoded(), k, m)
	if err != nil {
		return err
	}
	it.own = own
	if it.seg.Nodes, err = s.shards.Place(it.seg.Ordinal, k, m); err != nil {
		return err
	}
	pause := 100 * time.Millisecond
	for {
		it.seg.Stored |= s.putShards(ctx, sr, it, shards)
		if n := ones(it.seg.Stored); n >= k {
			s.counter.segments.Add(1)
			if n < k+m {
				s.counter.degraded.Add(1)
			}
			return nil
		}
		s.o.Logger.Warn("too few nodes hold the shards; trying again", "group", sr.Group, "ordinal", it.seg.Ordinal, "durable", ones(it.seg.Stored), "needed", k)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
			pause = min(2*pause, 2*time.Second)
		}
	}
}

type putResult struct {
	shard int
	err   error
}

// putShards puts the shards that are not stored yet, all at once, and returns
// the bits of those that became durable. Nodes that are down are left out as
// long as enough others are up. When k shards are durable, the rest has
// PutTimeout to follow.
func (s *Store) putShards(ctx context.Context, sr index.Series, it *item, shards [][]byte) (stored uint64) {
	k := int(it.seg.K)
	var try []int
	up := 0
	for i, n := range it.seg.Nodes {
		if it.seg.Stored&(1<<i) != 0 {
			up++
		} else if s.peers.Up(n) {
			try = append(try, i)
			up++
		}
	}
	if up < k {
		try = try[:0]
		for i := range it.seg.Nodes {
			if it.seg.Stored&(1<<i) == 0 {
				try = append(try, i)
			}
		}
	}
	c, cancel := context.WithTimeout(ctx, 10*s.o.PutTimeout)
	defer cancel()
	results := make(chan putResult, len(try))
	for _, i := range try {
		it.users.Add(1)
		go func() {
			err := s.putShard(c, sr, it, i, shards[i])
			it.leave()
			results <- putResult{i, err}
		}()
	}
	have := ones(it.seg.Stored)
	waiting := map[int]bool{}
	for _, i := range try {
		waiting[i] = true
	}
	var enough <-chan time.Time
	for len(waiting) > 0 {
		if have >= k && enough == nil {
			t := time.NewTimer(s.o.PutTimeout)
			defer t.Stop()
			enough = t.C
		}
		select {
		case r := <-results:
			delete(waiting, r.shard)
			if r.err == nil {
				stored |= 1 << r.shard
				have++
			} else if ctx.Err() == nil {
				s.o.Logger.Warn("shard not stored", "node", it.seg.Nodes[r.shard], "group", sr.Group, "ordinal", it.seg.Ordinal, "err", r.err)
			}
		case <-enough:
			for i := range waiting {
				s.peers.GiveUp(it.seg.Nodes[i], errors.New("too slow to store a shard"))
			}
			return stored
		}
	}
	return stored
}

func (s *Store) putShard(ctx context.Context, sr index.Series, it *item, i int, data []byte) error {
	head := it.d.Encoded()[:it.d.HeadLen()]
	return s.shards.Put(ctx, it.seg.Nodes[i], &segment.Shard{ID: shards.ID(sr, &it.seg, i), K: it.seg.K, M: it.seg.M, Size: it.seg.Size, Head: head, Data: data})
}

func ones(v uint64) (n int) {
	for ; v != 0; v &= v - 1 {
		n++
	}
	return n
}
