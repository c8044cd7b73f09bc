package gc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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

// Cluster is what the collector asks of the node's membership in the cluster.
type Cluster interface {
	// Barrier returns when this node's catalog has everything that was committed
	// before the call.
	Barrier(ctx context.Context) error
	Propose(ctx context.Context, cmd catalog.Command) (any, error)
}

// Options of a Collector. All are required.
type Options struct {
	Self    redoubt.NodeID // this node
	Log     *segment.Log   // its shards
	Catalog *catalog.Catalog
	Cluster Cluster
	Logger  *slog.Logger
	Tick    time.Duration // between two looks at what the catalog has let go
	Pace    *pace.Pacer   // of what is written to give space back
}

// Collector gives back the space of shards that the catalog names no more. Methods
// may be called concurrently.
type Collector struct {
	o          Options
	ctx        context.Context
	collecting sync.Mutex // one at a time

	discarded, reclaimed atomic.Uint64
}

// New returns the Collector of a node; what it does ends with ctx.
func New(ctx context.Context, o Options) *Collector { return &Collector{o: o, ctx: ctx} }

// Stats are figures since the Collector was made.
type Stats struct {
	Discarded uint64 // shards that the catalog names no more
	Reclaimed uint64 // bytes of shard log files given back
}

// Stats returns the present figures.
func (c *Collector) Stats() Stats {
	return Stats{Discarded: c.discarded.Load(), Reclaimed: c.reclaimed.Load()}
}

// Loop gives back the space of shards that the catalog names no more, until
// the context of New is over.
func (c *Collector) Loop() {
	if !pace.AfterStart(c.ctx, c.o.Tick) {
		return
	}
	t := time.NewTicker(c.o.Tick)
	defer t.Stop()
	type look struct {
		uuid string
		mark uint64
	}
	seen := map[redoubt.GroupID]look{}
	for first := true; ; first = false {
		changed := first
		for _, g := range c.o.Catalog.Groups() {
			r := c.o.Catalog.Retention(g.ID)
			mark := r.Plans << 32
			if r.Plan != nil {
				mark += 1 + r.Plan.Left()
			}
			if st := c.o.Catalog.Standing(g.ID); slices.Contains(st.Left, c.o.Self) {
				mark |= 1 << 63
			}
			if now := (look{g.UUID, mark}); seen[g.ID] != now {
				seen[g.ID], changed = now, true
			}
		}
		if changed && c.o.Log.Err() == nil { // else it begins anew with the next log
			err := c.Collect(c.ctx)
			if err == nil {
				err = c.reportErased(c.ctx)
			}
			if err != nil && c.ctx.Err() == nil {
				c.o.Logger.Warn("dead shards are not collected; tried again", "err", err, "hint", redoubt.Hint(err))
				clear(seen)
			}
		}
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Collect forgets this node's shards that the catalog names no more, and gives
// back the space of log files with too much of that. It returns an error while there
// is no majority of the nodes: nothing is forgotten on hearsay.
func (c *Collector) Collect(ctx context.Context) error {
	c.collecting.Lock()
	defer c.collecting.Unlock()
	if err := c.o.Cluster.Barrier(ctx); err != nil {
		return err
	}
	var err error
	var easy pace.Easy
	var dead []segment.ID
	if eerr := c.o.Log.Each(func(i segment.Info) bool {
		if Dead(c.o.Catalog, i.ID) {
			dead = append(dead, i.ID)
		}
		if len(dead) == collectBatch {
			err = c.discard(ctx, dead)
			dead = dead[:0]
		}
		return err == nil && easy.Step(ctx)
	}); eerr != nil {
		return eerr
	}
	if err == nil {
		err = c.discard(ctx, dead)
	}
	if err != nil {
		return err
	}
	slack := logSlack
	if c.erasing() {
		slack = eraseSlack
	}
	for range c.o.Log.Stats().Files { // each at most once: what comes then waits for the next time
		n, err := c.o.Log.Reclaim(ctx, slack, c.throttle)
		if err != nil || n == 0 {
			return err
		}
		c.reclaimed.Add(uint64(n))
	}
	return ctx.Err()
}

// discard forgets the shards that are dead. First the list, then the barrier: a
// shard that was there before is named by the catalog behind the barrier, or its
// plan is, or it is dead; and its group is in that catalog, or has lost its name.
func (c *Collector) discard(ctx context.Context, ids []segment.ID) error {
	if len(ids) == 0 {
		return nil
	}
	if err := c.o.Cluster.Barrier(ctx); err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id segment.ID) bool { return !Dead(c.o.Catalog, id) })
	c.discarded.Add(uint64(len(ids)))
	return c.o.Log.Discard(ids...)
}

// throttle waits as long as n bytes may take on top of ingest.
func (c *Collector) throttle(n int64) { _ = c.o.Pace.Wait(c.ctx, n) } // its error is the end of c
