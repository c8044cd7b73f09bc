package scrub

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/gc"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// Repair is what the scrub needs of it.
type Repair interface {
	SweepSoon()   // has everything looked at that the catalog names here
	Gone() uint64 // shards that were not there so far
}

// Cluster is what the scrub asks of the node's membership in the cluster.
type Cluster interface {
	// Barrier returns when this node's catalog has everything that was committed
	// before the call.
	Barrier(ctx context.Context) error
}

// Options of a Scrubber. All are required.
type Options struct {
	Self    redoubt.NodeID // this node
	Dir     string         // gets the file FileName
	FS      vfs.FS
	Log     *segment.Log
	Index   *index.Index
	Catalog *catalog.Catalog
	Cluster Cluster
	Repair  Repair
	Rotten  func(id segment.ID, err error) // forgets a shard and has it built again
	Logger  *slog.Logger
	Now     func() time.Time
	Tick    time.Duration

	Bytes int64         // bytes a second that are read at most; below 0: no scrub
	Every time.Duration // from the beginning of a pass to that of the next
	Grace time.Duration // how long a shard is kept that no manifest will name
}

// Scrubber reads every shard of the node's log, and every run of its index, at a
// set rate, again and again. What is rotten is forgotten and rebuilt at once.
// Methods may be called concurrently.
type Scrubber struct {
	o    Options
	ctx  context.Context // ends the work
	path string
	pace *pace.Pacer
	now  chan struct{} // begin a pass at once

	mu    sync.Mutex
	state State

	// Owned by loop.
	saved time.Time
	gone  uint64                   // the repairer's count that is in the state
	stale map[segment.ID]time.Time // forfeit shards, since when they are known to be
}

const (
	barrierTimeout = 30 * time.Second
	saveEvery      = 10 * time.Second // how often the position is saved; so much is read again after a crash
	maxStale       = 1 << 16          // the next pass finds what is beyond it
	retryAfter     = time.Minute      // after an error of the disk under the state or the index
)

// New returns the Scrubber of a node, which goes on where it was; what it does ends
// with ctx.
func New(ctx context.Context, o Options) *Scrubber {
	c := &Scrubber{o: o, ctx: ctx, path: filepath.Join(o.Dir, FileName), pace: pace.New(o.Bytes), now: make(chan struct{}, 1), stale: map[segment.ID]time.Time{}}
	st, err := Load(o.FS, c.path)
	if err != nil {
		o.Logger.Warn("place of the scrub not known; it begins anew", "file", c.path, "err", err)
	}
	c.state = st
	return c
}

// Pace is the rate that it keeps to; whoever measures the load sets it.
func (c *Scrubber) Pace() *pace.Pacer { return c.pace }

// Loop runs passes until the context of New is over.
func (c *Scrubber) Loop() {
	pace.AfterStart(c.ctx, c.o.Tick)
	for c.ctx.Err() == nil {
		if c.begin() {
			err := c.pass(c.ctx)
			c.save()
			if err != nil && c.ctx.Err() == nil && !errors.Is(err, errAnew) {
				c.o.Logger.Warn("scrub interrupted; it goes on soon", "err", err)
				c.sleep(retryAfter)
			}
			continue
		}
		c.sleep(c.due())
		c.deleteStale(c.ctx)
	}
}

// sleep waits for d, a wish for a pass, or the end; never so long that stale
// shards are forgotten.
func (c *Scrubber) sleep(d time.Duration) {
	if len(c.stale) > 0 {
		d = min(d, max(c.o.Grace/4, time.Millisecond))
	}
	t := time.NewTimer(min(d, time.Hour))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.now:
		c.change(func(st *State) { st.Started = 0 }) // due
	case <-c.ctx.Done():
	}
}

// due returns how long it is until the next pass: none if the last one is to have
// begun in the future, since the clock was set back then.
func (c *Scrubber) due() time.Duration {
	if c.o.Bytes < 0 {
		return time.Hour
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	left := time.Unix(0, c.state.Started).Add(c.o.Every).Sub(c.o.Now())
	if left > c.o.Every {
		return 0
	}
	return max(0, left)
}

// begin starts a pass if one is due; an interrupted one goes on.
func (c *Scrubber) begin() bool {
	if c.o.Bytes < 0 {
		return false
	}
	due := c.due() == 0
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Running || !due {
		return c.state.Running
	}
	c.state.Pass++
	c.state.Running, c.state.Started = true, c.o.Now().UnixNano()
	c.state.File, c.state.Off, c.state.Done, c.state.Found = 0, 0, 0, Findings{}
	c.gone = c.o.Repair.Gone()
	c.o.Logger.Info("scrub begins", "pass", c.state.Pass)
	return true
}

// pass goes on from the saved place to the end of the log, and then through the
// index.
func (c *Scrubber) pass(ctx context.Context) error {
	c.o.Repair.SweepSoon() // finds what is missing altogether
	for _, n := range c.o.Log.Numbers() {
		c.mu.Lock()
		from, off := c.state.File, c.state.Off
		c.mu.Unlock()
		if n < from {
			continue
		}
		if n > from {
			off = 0
		}
		if err := c.file(ctx, n, off); err != nil {
			return err
		}
	}
	runs, err := c.o.Index.Scrub(ctx, c.wait)
	c.change(func(st *State) {
		st.Found.Runs += uint64(runs.Rotten)
		st.Done += runs.Bytes
	})
	if err != nil {
		return err
	}
	c.deleteStale(ctx)
	c.countMissing()
	c.change(func(st *State) {
		st.Running, st.Finished, st.Last = false, c.o.Now().UnixNano(), st.Found
	})
	f := c.snapshot().Last
	c.o.Logger.Info("scrub is through", "shards", f.Shards, "bytes", f.Bytes, "rotten", f.Rotten, "missing", f.Missing, "orphans", f.Orphans, "deleted", f.Deleted, "files", f.Files, "runs", f.Runs)
	return nil
}

// file verifies one file of the log: its own structure, then its shards.
func (c *Scrubber) file(ctx context.Context, n uint64, off int64) error {
	reason, err := c.o.Log.ScrubFile(n)
	if reason != nil {
		c.o.Logger.Error("shard log file is damaged; its footer is written anew", "file", n, "reason", reason, "err", err)
		c.change(func(st *State) { st.Found.Files++ })
	}
	if err != nil && ctx.Err() == nil {
		c.o.Logger.Warn("shard log file not verified", "file", n, "err", err)
	}
	shards, err := c.o.Log.InFile(n)
	if err != nil {
		return err
	}
	for _, i := range shards {
		if i.Offset < off {
			continue
		}
		if err := c.wait(ctx, i.Length()); err != nil {
			return err
		}
		c.shard(&i)
		c.change(func(st *State) {
			st.File, st.Off = n, i.Offset+1
			st.Done += i.Length()
			st.Found.Shards++
			st.Found.Bytes += uint64(i.Length())
		})
		if time.Since(c.saved) > saveEvery {
			c.countMissing()
			c.deleteStale(ctx)
			c.save()
		}
	}
	c.change(func(st *State) { st.File, st.Off = n+1, 0 })
	return nil
}

// shard verifies one shard and asks whose it is.
func (c *Scrubber) shard(i *segment.Info) {
	err := c.o.Log.Scrub(i.ID)
	if errors.Is(err, redoubt.ErrNotFound) || errors.Is(err, redoubt.ErrClosed) {
		return
	}
	owner := gc.ClaimOf(c.o.Catalog, c.o.Self, i.ID)
	if err != nil {
		// A sector that cannot be read is as lost as one that lies.
		c.o.Rotten(i.ID, err)
		c.change(func(st *State) { st.Found.Rotten++ })
		return
	}
	switch owner {
	case gc.Unclaimed:
		c.change(func(st *State) { st.Found.Orphans++ })
	case gc.Forfeit:
		if _, known := c.stale[i.ID]; !known && len(c.stale) < maxStale {
			c.stale[i.ID] = time.Now()
		}
	}
}

// deleteStale deletes the shards that are known for a while never to be named
// (again). What retention leaves behind its collector has forgotten before,
// mostly. The barrier is later than the shards: what is on its way to a commit
// is named by the catalog behind it, or its plan is.
func (c *Scrubber) deleteStale(ctx context.Context) {
	fresh := false
	for id, since := range c.stale {
		if time.Since(since) < c.o.Grace {
			continue
		}
		if !fresh && !c.refresh(ctx) {
			return // later
		}
		fresh = true
		delete(c.stale, id)
		if gc.ClaimOf(c.o.Catalog, c.o.Self, id) != gc.Forfeit {
			continue
		}
		if err := c.o.Log.Delete(ctx, id); err != nil {
			c.o.Logger.Warn("shard that nobody needs not deleted", "shard", id.String(), "err", err)
			return
		}
		c.o.Logger.Info("shard deleted that no manifest will name", "shard", id.String())
		c.change(func(st *State) { st.Found.Deleted++ })
	}
}

// refresh has this node's catalog catch up. It reports whether it did.
func (c *Scrubber) refresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, barrierTimeout)
	defer cancel()
	return c.o.Cluster.Barrier(ctx) == nil
}

// countMissing adds what repair found missing since the last time.
func (c *Scrubber) countMissing() {
	gone := c.o.Repair.Gone()
	rest := gone - c.gone
	c.gone = gone
	c.change(func(st *State) { st.Found.Missing += rest })
}

var errAnew = errors.New("a new pass is wished for")

// wait lets n bytes pass, or ends the pass for a new one.
func (c *Scrubber) wait(ctx context.Context, n int64) error {
	select {
	case <-c.now:
		c.change(func(st *State) { st.Running, st.Started = false, 0 })
		return errAnew
	default:
	}
	return c.pace.Wait(ctx, n)
}

func (c *Scrubber) change(fn func(*State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.state)
}

func (c *Scrubber) snapshot() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *Scrubber) save() {
	st := c.snapshot()
	if err := vfs.WriteAtomic(c.o.FS, c.path, st.encode()); err != nil {
		c.o.Logger.Warn("place of the scrub not saved; after a restart it begins at the last one", "file", c.path, "err", err)
	}
	c.saved = time.Now()
}
