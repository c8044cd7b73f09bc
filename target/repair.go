package target

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// repairer rebuilds the shards that this node should have and has not: of the
// time when it was down, of a damaged log, or found rotten. It tells the cluster
// in batches what is gone and what became durable.
type repairer struct {
	s    *Store
	kick chan struct{}
	pace *pace.Pacer
	in   pace.Meter // ingest into this node's log
	out  pace.Meter // what was rebuilt

	helping chan struct{} // a token per read that is served to other nodes' repair

	mu      sync.Mutex
	asked   []segment.ID // found rotten since the last look
	again   bool         // look at everything soon
	todo    *backlog
	failed  int   // of todo: too few shards could be read at the last attempt
	lastErr error // why
	reads   map[redoubt.NodeID]int
	lag     time.Duration // of ingest, at the last tick

	gone atomic.Uint64 // shards that the catalog said were here

	// Owned by loop.
	seen  map[index.Series]uint64 // segments below it were looked at
	swept time.Time               // when the last sweep over everything began
	took  time.Duration           // and how long it took
}

const (
	repairBatch   = 256
	repairWorkers = 2 // segments that are rebuilt at the same time
	helpMost      = 2 // reads that are served to other nodes' repair at the same time
	maxAsked      = 1 << 16
	// Everything is looked at again after sweepTicks, and sweeps take no more
	// than a hundredth of the time.
	sweepTicks = 20
	sweepShare = 100
)

func newRepairer(s *Store) *repairer {
	return &repairer{s: s, kick: make(chan struct{}, 1), pace: pace.New(s.o.RepairBytes), helping: make(chan struct{}, helpMost),
		todo: newBacklog(), reads: map[redoubt.NodeID]int{}, seen: map[index.Series]uint64{}}
}

// rebuildShard has one shard, which was found rotten, looked at again at once.
func (r *repairer) rebuildShard(id segment.ID) {
	r.mu.Lock()
	if len(r.asked) < maxAsked { // the next sweep finds what is beyond it
		r.asked = append(r.asked, id)
	}
	r.mu.Unlock()
	r.poke()
}

// sweepSoon has everything looked at again: nodes or shards are back.
func (r *repairer) sweepSoon() {
	r.mu.Lock()
	r.again = true
	r.mu.Unlock()
	r.poke()
}

func (r *repairer) poke() {
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
		r.look()
		r.work()
	}
}

// look finds what is missing: what was asked for, in the segments that are new
// since the last look, and now and then in all of them.
func (r *repairer) look() {
	begin := time.Now()
	r.mu.Lock()
	asked := r.asked
	r.asked = nil
	spilled := r.todo.over > 0 && len(r.todo.heap) == 0
	all := r.swept.IsZero() || spilled || r.again && begin.Sub(r.swept) > sweepShare*r.took || begin.Sub(r.swept) > max(sweepTicks*r.s.o.Tick, sweepShare*r.took)
	if all {
		r.again, r.failed, r.todo, r.seen = false, 0, newBacklog(), map[index.Series]uint64{}
	}
	r.mu.Unlock()
	news := &findings{}
	var easy pace.Easy
	for _, id := range asked {
		sr := index.Series{Group: id.Group, UUID: id.UUID, Epoch: id.Epoch}
		if sg, err := r.s.shards.Segment(sr, id.Ordinal); err == nil && sg.CRC == id.CRC {
			r.examine(sr, &sg, news)
		}
	}
	for _, g := range r.s.catalog.Groups() {
		for _, f := range g.Lineage {
			r.series(shards.SeriesOf(&g, f.Epoch), news, &easy)
		}
	}
	r.tell(news.stored, false)
	r.tell(news.lost, true)
	if all {
		r.swept, r.took = begin, easy.Worked()
	}
}

// findings are what the catalog does not know yet.
type findings struct{ stored, lost []catalog.ShardOf }

func (r *repairer) series(sr index.Series, news *findings, easy *pace.Easy) {
	from := r.seen[sr]
	for r.s.ctx.Err() == nil {
		segs := r.s.catalog.Segments(sr.Group, sr.Epoch, from, repairBatch)
		if len(segs) == 0 {
			break
		}
		for i := range segs {
			r.examine(sr, &segs[i], news)
			if !easy.Step(r.s.ctx) {
				return
			}
		}
		from = segs[len(segs)-1].Ordinal + 1
	}
	r.seen[sr] = from
}

// examine compares what the catalog says of this node's shards of a segment
// with what is in the log. A shard of another delta at the same place, put by an
// owner that was deposed, counts as none.
func (r *repairer) examine(sr index.Series, sg *catalog.Segment, news *findings) {
	for n, node := range sg.Nodes {
		if node != r.s.o.ID {
			continue
		}
		ref := catalog.ShardOf{ShardRef: catalog.ShardRef{Group: sr.Group, Epoch: sr.Epoch, Ordinal: sg.Ordinal, Shard: uint8(n)}, CRC: sg.CRC}
		said := sg.Stored&(1<<n) != 0
		has, err := r.s.log.Has(shards.ID(sr, sg, n))
		if err != nil {
			r.unread(sr, sg, err)
			continue
		}
		if has {
			if !said {
				news.stored = append(news.stored, ref)
			}
			continue
		}
		if said {
			r.gone.Add(1)
			news.lost = append(news.lost, ref)
		}
		r.mu.Lock()
		r.todo.add(newMissing(sr, sg, n))
		r.mu.Unlock()
	}
}

// unread notes that the list of a shard log file could not be read: what it
// holds is not known, which says nothing of the shard.
func (r *repairer) unread(sr index.Series, sg *catalog.Segment, err error) {
	if r.s.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	first := r.lastErr == nil
	r.lastErr, r.again = err, true
	r.mu.Unlock()
	if first {
		r.s.o.Logger.Warn("not known whether a shard is stored; looked again", "segment", shards.SegmentName(sr, sg.Ordinal), "err", err)
	}
}

// tell records which shards are durable here, or lost. What could not be told
// is found again by a sweep.
func (r *repairer) tell(refs []catalog.ShardOf, lost bool) {
	for len(refs) > 0 {
		part := refs[:min(len(refs), catalog.MaxBatch)]
		refs = refs[len(part):]
		ctx, cancel := context.WithTimeout(r.s.ctx, commitTimeout)
		_, err := r.s.node.Propose(ctx, catalog.ReportShards{Node: r.s.o.ID, Shards: part, Lost: lost})
		cancel()
		if err != nil {
			if r.s.ctx.Err() == nil {
				r.s.o.Logger.Warn("state of shards not recorded; tried again", "shards", len(part), "lost", lost, "err", err)
			}
			r.mu.Lock()
			r.again = true
			r.mu.Unlock()
			return
		}
	}
}

// work rebuilds until nothing is left, or it is time to look again.
func (r *repairer) work() {
	until := time.Now().Add(2 * r.s.o.Tick)
	for r.s.ctx.Err() == nil && time.Now().Before(until) {
		done := r.round(until)
		r.tell(done, false)
		if len(done) == 0 {
			return
		}
	}
}

// round lets the workers rebuild up to a batch and returns what is durable now.
func (r *repairer) round(until time.Time) (done []catalog.ShardOf) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range repairWorkers {
		wg.Go(func() {
			for range repairBatch / repairWorkers {
				if r.s.ctx.Err() != nil || !time.Now().Before(until) {
					return
				}
				r.mu.Lock()
				m := r.todo.take()
				r.mu.Unlock()
				if m == nil {
					return
				}
				if r.rebuild(m) {
					mu.Lock()
					done = append(done, m.ref())
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return done
}

// rebuild makes the shard again if it is still missing. It reports whether the
// catalog must be told that it is here.
func (r *repairer) rebuild(m *missing) bool {
	s := r.s
	sg, err := s.shards.Segment(m.series, m.ordinal)
	if err != nil || m.shard >= len(sg.Nodes) || sg.Nodes[m.shard] != s.o.ID || sg.CRC != m.crc {
		r.settle(m) // it was dropped or thinned, or has another home now
		return false
	}
	has, err := s.log.Has(shards.ID(m.series, &sg, m.shard))
	if err == nil && !has {
		err = s.rebuildShard(s.ctx, m.series, &sg, m.shard)
	}
	if err != nil {
		r.failure(m, err)
		return false
	}
	r.settle(m)
	return true
}

// failure notes why m was not rebuilt. It stays counted until the next sweep
// takes it up again. One line a sweep is enough for the operator.
func (r *repairer) failure(m *missing, err error) {
	if r.s.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	r.failed++
	first := r.failed == 1
	r.lastErr = err
	r.mu.Unlock()
	level := slog.LevelDebug
	if first {
		level = slog.LevelWarn
	}
	r.s.o.Logger.Log(r.s.ctx, level, "shard not rebuilt; tried again", "segment", shards.SegmentName(m.series, m.ordinal), "shard", m.shard, "err", err)
}

func (r *repairer) settle(m *missing) {
	r.mu.Lock()
	r.todo.settled(m)
	if r.todo.segments == 0 {
		r.lastErr = nil
	}
	r.mu.Unlock()
}
