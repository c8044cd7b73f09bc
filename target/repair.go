package target

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// repairer rebuilds the shards that this node should have and has not: of the
// time when it was down, of a damaged log, or found rotten. It tells the cluster
// in batches what became durable.
type repairer struct {
	s    *Store
	kick chan struct{}

	mu   sync.Mutex
	done map[index.Series]uint64 // below this ordinal every shard is in place
}

const repairBatch = 256

func newRepairer(s *Store) *repairer {
	return &repairer{s: s, kick: make(chan struct{}, 1), done: map[index.Series]uint64{}}
}

// again has the segments from ordinal on looked at anew.
func (r *repairer) again(sr index.Series, ordinal uint64) {
	r.mu.Lock()
	r.done[sr] = min(r.done[sr], ordinal)
	r.mu.Unlock()
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *repairer) loop() {
	t := time.NewTicker(r.s.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-r.s.ctx.Done():
			return
		case <-r.kick:
		case <-t.C:
		}
		for _, g := range r.s.catalog.Groups() {
			for _, f := range g.Lineage {
				r.series(seriesOf(&g, f.Epoch))
			}
		}
	}
}

// series looks at the segments of one series that are not known to be in place.
func (r *repairer) series(sr index.Series) {
	r.mu.Lock()
	from := r.done[sr]
	r.mu.Unlock()
	whole := true // everything below the place reached is in place
	for r.s.ctx.Err() == nil {
		segs := r.s.catalog.Segments(sr.Group, sr.Epoch, from, repairBatch)
		if len(segs) == 0 {
			return
		}
		var stored, lost []cluster.ShardRef
		for i := range segs {
			sg := &segs[i]
			ok := true
			for n, node := range sg.Nodes {
				if node != r.s.o.ID {
					continue
				}
				ref := cluster.ShardRef{Group: sr.Group, Epoch: sr.Epoch, Ordinal: sg.Ordinal, Shard: uint8(n)}
				bit := sg.Stored&(1<<n) != 0
				have := r.s.log.Has(shardID(sr, sg, n))
				if !have {
					if have = r.rebuild(sr, sg, n); !have && bit {
						lost = append(lost, ref)
					}
				}
				if have && !bit {
					stored = append(stored, ref)
				}
				ok = ok && have
			}
			whole = whole && ok
			if whole {
				r.mu.Lock()
				// Another reader may have asked to look again further back.
				if r.done[sr] == sg.Ordinal {
					r.done[sr] = sg.Ordinal + 1
				}
				r.mu.Unlock()
			}
			from = sg.Ordinal + 1
		}
		if !r.tell(cluster.ShardsStored{Node: r.s.o.ID, Shards: stored}) || !r.tell(cluster.ShardsStored{Node: r.s.o.ID, Shards: lost, Lost: true}) {
			r.again(sr, segs[0].Ordinal)
			return
		}
	}
}

func (r *repairer) tell(c cluster.ShardsStored) bool {
	if len(c.Shards) == 0 {
		return true
	}
	ctx, cancel := context.WithTimeout(r.s.ctx, commitTimeout)
	defer cancel()
	if _, err := r.s.node.Propose(ctx, c); err != nil {
		if r.s.ctx.Err() == nil {
			r.s.o.Logger.Warn("repaired shards not recorded; tried again", "shards", len(c.Shards), "err", err)
		}
		return false
	}
	return true
}

// rebuild computes the shard from k others, checks the whole delta against its
// checksum, and stores the shard.
func (r *repairer) rebuild(sr index.Series, sg *cluster.Segment, want int) bool {
	s := r.s
	err := func() error {
		head, err := s.head(s.ctx, sr, sg)
		if err != nil {
			return err
		}
		shards, err := s.wholeSegment(s.ctx, sr, sg, want)
		if err != nil {
			return err
		}
		if err := s.coders.reconstruct(shards, int(sg.K), int(sg.M), want); err != nil {
			return err
		}
		return s.log.Put(s.ctx, &segment.Shard{ID: shardID(sr, sg, want), K: sg.K, M: sg.M, Size: sg.Size, Head: head.Encoded(), Data: shards[want]})
	}()
	if err != nil {
		if s.ctx.Err() == nil {
			s.o.Logger.Warn("shard not rebuilt; tried again", "segment", segmentName(sr, sg.Ordinal), "shard", want, "err", err)
		}
		return false
	}
	s.counter.repaired.Add(1)
	s.counter.repairedBytes.Add(uint64(sg.ShardSize))
	r.throttle(int64(sg.ShardSize))
	return true
}

// throttle waits as long as n bytes may take.
func (r *repairer) throttle(n int64) {
	t := time.NewTimer(time.Duration(float64(n) / float64(r.s.o.RepairBytes) * float64(time.Second)))
	defer t.Stop()
	select {
	case <-r.s.ctx.Done():
	case <-t.C:
	}
}

// wholeSegment returns all data shards of a segment, checked against the
// delta's checksum, without reading the shard skip. If the shards it got first
// do not match, it tries without each of them.
func (s *Store) wholeSegment(ctx context.Context, sr index.Series, sg *cluster.Segment, skip int) ([][]byte, error) {
	var last error
	for leave := -1; leave < int(sg.K)+int(sg.M); leave++ {
		if leave == skip {
			continue
		}
		shards, err := s.gather(ctx, sr, sg, 0, sg.ShardSize, func(i int) bool { return i == skip || i == leave })
		if err != nil {
			if leave == -1 {
				return nil, err
			}
			continue
		}
		var enc bytes.Buffer
		for i := range int(sg.K) {
			if err := s.coders.reconstruct(shards, int(sg.K), int(sg.M), i); err != nil {
				return nil, err
			}
			enc.Write(shards[i])
		}
		if b := enc.Bytes(); redoubt.Checksum(b[:sg.Size]) == sg.CRC {
			return shards, nil
		}
		last = fmt.Errorf("segment %s does not match its checksum: %w", segmentName(sr, sg.Ordinal), redoubt.ErrCorrupt)
	}
	return nil, last
}
