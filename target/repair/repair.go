package repair

import (
	"context"
	"fmt"
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

// Cluster is where repair says what is durable here and what is lost.
type Cluster interface {
	Propose(ctx context.Context, cmd catalog.Command) (any, error)
}

// Options of a Repairer. All but Give are required.
type Options struct {
	Self    redoubt.NodeID // this node
	Log     *segment.Log   // its shards
	Shards  *shards.Site   // those of all nodes
	Catalog *catalog.Catalog
	Cluster Cluster
	Logger  *slog.Logger
	Tick    time.Duration // between two looks at what is missing, and at the load

	Most  int64         // bytes a second that are written at most, and read here at most for other nodes
	Bound time.Duration // how long a delta may wait for its commit before repair gives way
	// Lag is the age of the oldest delta that waits for its commit, on any node.
	Lag func() time.Duration
	// Give is told at every Tick which part of Most is allowed at present, and why:
	// from a sixteenth to 1. Other work that can wait gives way in the same measure.
	Give func(share float64, why string)
}

// Repairer rebuilds the shards that this node should have and has not: of the
// time when it was down, of a damaged log, or found rotten. It tells the cluster
// in batches what is gone and what became durable. Methods may be called concurrently.
type Repairer struct {
	o    Options
	ctx  context.Context // ends the work
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

	rotten map[segment.ID]bool // found rotten, and not built again yet: not counted in gone

	gone                                       atomic.Uint64 // shards that the catalog said were here
	repaired, repairedBytes, moved, movedBytes atomic.Uint64

	// Owned by loop.
	seen  map[index.Series]uint64 // segments below it were looked at
	swept time.Time               // when the last sweep over everything began
	took  time.Duration           // and how long it took
}

const (
	repairBatch   = 256
	tellTimeout   = 30 * time.Second // bounds one proposal
	repairWorkers = 2                // segments that are rebuilt at the same time
	helpMost      = 2                // reads that are served to other nodes' repair at the same time
	maxAsked      = 1 << 16
	// Everything is looked at again after sweepTicks, and sweeps take no more
	// than a hundredth of the time.
	sweepTicks = 20
	sweepShare = 100
)

// New returns the Repairer of a node. Nothing is done before Start; all of it ends
// with ctx.
func New(ctx context.Context, o Options) *Repairer {
	return &Repairer{o: o, ctx: ctx, kick: make(chan struct{}, 1), pace: pace.New(o.Most), helping: make(chan struct{}, helpMost),
		todo: newBacklog(), reads: map[redoubt.NodeID]int{}, rotten: map[segment.ID]bool{}, seen: map[index.Series]uint64{}}
}

// Start runs what looks for missing shards, what measures the load, and what moves
// shards, each by a call of run.
func (r *Repairer) Start(run func(fn func())) {
	run(r.loop)
	run(r.measure)
	run((&mover{r: r}).loop)
}

// Pace is the rate that repair keeps to, for other work that writes to the log.
func (r *Repairer) Pace() *pace.Pacer { return r.pace }

// Gone counts the shards that the catalog said were here and the log did not have,
// without those that Rotten heard of.
func (r *Repairer) Gone() uint64 { return r.gone.Load() }

// Rotten has one shard, which was found rotten, forgotten, and looked at again at
// once. A sweep may come between: the shard is noted first.
func (r *Repairer) Rotten(id segment.ID, forget func() error) error {
	r.mu.Lock()
	if len(r.rotten) < maxAsked {
		r.rotten[id] = true
	}
	r.mu.Unlock()
	err := forget()
	r.mu.Lock()
	if err != nil {
		delete(r.rotten, id)
	} else if len(r.asked) < maxAsked { // the next sweep finds what is beyond it
		r.asked = append(r.asked, id)
	}
	r.mu.Unlock()
	r.poke()
	return err
}

// SweepSoon has everything looked at again: nodes or shards are back.
func (r *Repairer) SweepSoon() {
	r.mu.Lock()
	r.again = true
	r.mu.Unlock()
	r.poke()
}

func (r *Repairer) poke() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *Repairer) loop() {
	t := time.NewTicker(r.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.kick:
		case <-t.C:
		}
		r.look()
		if !r.hopeless() {
			r.work()
		}
	}
}

// look finds what is missing: what was asked for, in the segments that are new
// since the last look, and now and then in all of them.
func (r *Repairer) look() {
	begin := time.Now()
	r.mu.Lock()
	asked := r.asked
	r.asked = nil
	spilled := r.todo.over > 0 && len(r.todo.heap) == 0
	all := r.swept.IsZero() || spilled || r.again && begin.Sub(r.swept) > sweepShare*r.took || begin.Sub(r.swept) > max(sweepTicks*r.o.Tick, sweepShare*r.took)
	if all {
		r.again, r.failed, r.todo, r.seen = false, 0, newBacklog(), map[index.Series]uint64{}
	}
	r.mu.Unlock()
	news := &findings{}
	var easy pace.Easy
	for _, id := range asked {
		sr := index.Series{Group: id.Group, UUID: id.UUID, Epoch: id.Epoch}
		if sg, err := r.o.Shards.Segment(sr, id.Ordinal); err == nil && sg.CRC == id.CRC && int(id.Shard) < len(sg.Nodes) && sg.Nodes[id.Shard] == r.o.Self {
			r.examine(sr, &sg, news)
			continue
		}
		r.mu.Lock()
		delete(r.rotten, id) // nobody names it: it is not built again
		r.mu.Unlock()
	}
	for _, g := range r.o.Catalog.Groups() {
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

func (r *Repairer) series(sr index.Series, news *findings, easy *pace.Easy) {
	from := r.seen[sr]
	for r.ctx.Err() == nil {
		segs := r.o.Catalog.Segments(sr.Group, sr.Epoch, from, repairBatch)
		if len(segs) == 0 {
			break
		}
		for i := range segs {
			r.examine(sr, &segs[i], news)
			if !easy.Step(r.ctx) {
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
func (r *Repairer) examine(sr index.Series, sg *catalog.Segment, news *findings) {
	for n, node := range sg.Nodes {
		if node != r.o.Self {
			continue
		}
		ref := catalog.ShardOf{ShardRef: catalog.ShardRef{Group: sr.Group, Epoch: sr.Epoch, Ordinal: sg.Ordinal, Shard: uint8(n)}, CRC: sg.CRC}
		said := sg.Stored&(1<<n) != 0
		has, err := r.o.Log.Has(shards.ID(sr, sg, n))
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
		r.mu.Lock()
		if said {
			if !r.rotten[shards.ID(sr, sg, n)] {
				r.gone.Add(1)
			}
			news.lost = append(news.lost, ref)
		}
		r.todo.add(newMissing(sr, sg, n))
		r.mu.Unlock()
	}
}

// unread notes that the list of a shard log file could not be read: what it
// holds is not known, which says nothing of the shard.
func (r *Repairer) unread(sr index.Series, sg *catalog.Segment, err error) {
	if r.ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	first := r.lastErr == nil
	r.lastErr, r.again = err, true
	r.mu.Unlock()
	if first {
		r.o.Logger.Warn("not known whether a shard is stored; looked again", "segment", shards.SegmentName(sr, sg.Ordinal), "err", err)
	}
}

// tell records which shards are durable here, or lost. What could not be told
// is found again by a sweep.
func (r *Repairer) tell(refs []catalog.ShardOf, lost bool) {
	for len(refs) > 0 {
		part := refs[:min(len(refs), catalog.MaxBatch)]
		refs = refs[len(part):]
		ctx, cancel := context.WithTimeout(r.ctx, tellTimeout)
		_, err := r.o.Cluster.Propose(ctx, catalog.ReportShards{Node: r.o.Self, Shards: part, Lost: lost})
		cancel()
		if err != nil {
			if r.ctx.Err() == nil {
				r.o.Logger.Warn("state of shards not recorded; tried again", "shards", len(part), "lost", lost, "err", err)
			}
			r.mu.Lock()
			r.again = true
			r.mu.Unlock()
			return
		}
	}
}

// hopeless reports whether this node's log has failed: what is missing stays
// missing until it is opened again, and reading for it would cost the others.
func (r *Repairer) hopeless() bool {
	err := r.o.Log.Err()
	if err == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr, r.failed = fmt.Errorf("%w (%w)", redoubt.ErrFailed, err), r.todo.segments
	return true
}

// work rebuilds until nothing is left, or it is time to look again.
func (r *Repairer) work() {
	until := time.Now().Add(2 * r.o.Tick)
	for r.ctx.Err() == nil && time.Now().Before(until) {
		done := r.round(until)
		r.tell(done, false)
		if len(done) == 0 {
			return
		}
	}
}

// round lets the workers rebuild up to a batch and returns what is durable now.
func (r *Repairer) round(until time.Time) (done []catalog.ShardOf) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range repairWorkers {
		wg.Go(func() {
			for range repairBatch / repairWorkers {
				if r.ctx.Err() != nil || !time.Now().Before(until) {
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
func (r *Repairer) rebuild(m *missing) bool {
	sg, err := r.o.Shards.Segment(m.series, m.ordinal)
	if err != nil || m.shard >= len(sg.Nodes) || sg.Nodes[m.shard] != r.o.Self || sg.CRC != m.crc {
		r.settle(m) // it was dropped or thinned, or has another home now
		return false
	}
	has, err := r.o.Log.Has(shards.ID(m.series, &sg, m.shard))
	if err == nil && !has {
		err = r.rebuildShard(r.ctx, m.series, &sg, m.shard)
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
func (r *Repairer) failure(m *missing, err error) {
	if r.ctx.Err() != nil {
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
	r.o.Logger.Log(r.ctx, level, "shard not rebuilt; tried again", "segment", shards.SegmentName(m.series, m.ordinal), "shard", m.shard, "err", err)
}

func (r *Repairer) settle(m *missing) {
	r.mu.Lock()
	delete(r.rotten, m.id())
	r.todo.settled(m)
	if r.todo.segments == 0 {
		r.lastErr = nil
	}
	r.mu.Unlock()
}
