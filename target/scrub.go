package target

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// scrubber reads every shard of the node's log, and every run of its index, at a
// set rate, again and again. What is rotten is forgotten and rebuilt at once.
type scrubber struct {
	s    *Store
	path string
	pace *pace.Pacer
	now  chan struct{} // begin a pass at once

	mu    sync.Mutex
	state scrubState

	// Owned by loop.
	saved time.Time
	gone  uint64                   // the repairer's count that is in the state
	stale map[segment.ID]time.Time // forfeit shards, since when they are known to be
}

const (
	scrubSave  = 10 * time.Second // how often the position is saved; so much is read again after a crash
	maxStale   = 1 << 16          // the next pass finds what is beyond it
	scrubRetry = time.Minute      // after an error of the disk under the state or the index
)

func newScrubber(s *Store) *scrubber {
	c := &scrubber{s: s, path: filepath.Join(s.o.Dir, scrubFileName), pace: pace.New(s.o.ScrubBytes), now: make(chan struct{}, 1), stale: map[segment.ID]time.Time{}}
	st, err := loadScrubState(s.o.FS, c.path)
	if err != nil {
		s.o.Logger.Warn("place of the scrub not known; it begins anew", "file", c.path, "err", err)
	}
	c.state = st
	return c
}

// loop runs passes until the store is closed.
func (c *scrubber) loop() {
	pace.AfterStart(c.s.ctx, c.s.o.Tick)
	for c.s.ctx.Err() == nil {
		if c.begin() {
			err := c.pass(c.s.ctx)
			c.save()
			if err != nil && c.s.ctx.Err() == nil && !errors.Is(err, errScrubAnew) {
				c.s.o.Logger.Warn("scrub interrupted; it goes on soon", "err", err)
				c.sleep(scrubRetry)
			}
			continue
		}
		c.sleep(c.due())
		c.deleteStale(c.s.ctx)
	}
}

// sleep waits for d, a wish for a pass, or the end; never so long that stale
// shards are forgotten.
func (c *scrubber) sleep(d time.Duration) {
	if len(c.stale) > 0 {
		d = min(d, max(c.s.o.OrphanGrace/4, time.Millisecond))
	}
	t := time.NewTimer(min(d, time.Hour))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.now:
		c.change(func(st *scrubState) { st.Started = 0 }) // due
	case <-c.s.ctx.Done():
	}
}

// due returns how long it is until the next pass.
func (c *scrubber) due() time.Duration {
	if c.s.o.ScrubBytes < 0 {
		return time.Hour
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(0, time.Unix(0, c.state.Started).Add(c.s.o.ScrubEvery).Sub(c.s.o.Now()))
}

// begin starts a pass if one is due; an interrupted one goes on.
func (c *scrubber) begin() bool {
	if c.s.o.ScrubBytes < 0 {
		return false
	}
	due := c.due() == 0
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Running || !due {
		return c.state.Running
	}
	c.state.Pass++
	c.state.Running, c.state.Started = true, c.s.o.Now().UnixNano()
	c.state.File, c.state.Off, c.state.Done, c.state.Found = 0, 0, 0, ScrubFindings{}
	c.gone = c.s.repair.Gone()
	c.s.o.Logger.Info("scrub begins", "pass", c.state.Pass)
	return true
}

// pass goes on from the saved place to the end of the log, and then through the
// index.
func (c *scrubber) pass(ctx context.Context) error {
	c.s.repair.SweepSoon() // finds what is missing altogether
	for _, n := range c.s.log.Numbers() {
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
	runs, err := c.s.idx.Scrub(ctx, c.wait)
	c.change(func(st *scrubState) {
		st.Found.Runs += uint64(runs.Rotten)
		st.Done += runs.Bytes
	})
	if err != nil {
		return err
	}
	c.deleteStale(ctx)
	c.countMissing()
	c.change(func(st *scrubState) {
		st.Running, st.Finished, st.Last = false, c.s.o.Now().UnixNano(), st.Found
	})
	f := c.snapshot().Last
	c.s.o.Logger.Info("scrub is through", "shards", f.Shards, "bytes", f.Bytes, "rotten", f.Rotten, "missing", f.Missing, "orphans", f.Orphans, "deleted", f.Deleted, "files", f.Files, "runs", f.Runs)
	return nil
}

// file verifies one file of the log: its own structure, then its shards.
func (c *scrubber) file(ctx context.Context, n uint64, off int64) error {
	reason, err := c.s.log.ScrubFile(n)
	if reason != nil {
		c.s.o.Logger.Error("shard log file is damaged; its footer is written anew", "file", n, "reason", reason, "err", err)
		c.change(func(st *scrubState) { st.Found.Files++ })
	}
	if err != nil && ctx.Err() == nil {
		c.s.o.Logger.Warn("shard log file not verified", "file", n, "err", err)
	}
	shards, err := c.s.log.InFile(n)
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
		c.change(func(st *scrubState) {
			st.File, st.Off = n, i.Offset+1
			st.Done += i.Length()
			st.Found.Shards++
			st.Found.Bytes += uint64(i.Length())
		})
		if time.Since(c.saved) > scrubSave {
			c.countMissing()
			c.deleteStale(ctx)
			c.save()
		}
	}
	c.change(func(st *scrubState) { st.File, st.Off = n+1, 0 })
	return nil
}

// shard verifies one shard and asks whose it is.
func (c *scrubber) shard(i *segment.Info) {
	err := c.s.log.Scrub(i.ID)
	if errors.Is(err, redoubt.ErrNotFound) || errors.Is(err, redoubt.ErrClosed) {
		return
	}
	owner := c.s.claim(i.ID)
	if err != nil {
		// A sector that cannot be read is as lost as one that lies.
		c.s.shards.ForgetRotten(i.ID, err)
		c.change(func(st *scrubState) { st.Found.Rotten++ })
		return
	}
	switch owner {
	case unclaimed:
		c.change(func(st *scrubState) { st.Found.Orphans++ })
	case forfeit:
		if _, known := c.stale[i.ID]; !known && len(c.stale) < maxStale {
			c.stale[i.ID] = time.Now()
		}
	}
}

// deleteStale deletes the shards that are known for a while never to be named
// (again). What retention leaves behind its collector has forgotten before,
// mostly. The barrier is later than the shards: what is on its way to a commit
// is named by the catalog behind it, or its plan is.
func (c *scrubber) deleteStale(ctx context.Context) {
	fresh := false
	for id, since := range c.stale {
		if time.Since(since) < c.s.o.OrphanGrace {
			continue
		}
		if !fresh && !c.refresh(ctx) {
			return // later
		}
		fresh = true
		delete(c.stale, id)
		if c.s.claim(id) != forfeit {
			continue
		}
		if err := c.s.log.Delete(ctx, id); err != nil {
			c.s.o.Logger.Warn("shard that nobody needs not deleted", "shard", id.String(), "err", err)
			return
		}
		c.s.o.Logger.Info("shard deleted that no manifest will name", "shard", id.String())
		c.change(func(st *scrubState) { st.Found.Deleted++ })
	}
}

// refresh has this node's catalog catch up. It reports whether it did.
func (c *scrubber) refresh(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return c.s.node.Barrier(ctx) == nil
}

// countMissing adds what repair found missing since the last time.
func (c *scrubber) countMissing() {
	gone := c.s.repair.Gone()
	rest := gone - c.gone
	c.gone = gone
	c.change(func(st *scrubState) { st.Found.Missing += rest })
}

var errScrubAnew = errors.New("a new pass is wished for")

// wait lets n bytes pass, or ends the pass for a new one.
func (c *scrubber) wait(ctx context.Context, n int64) error {
	select {
	case <-c.now:
		c.change(func(st *scrubState) { st.Running, st.Started = false, 0 })
		return errScrubAnew
	default:
	}
	return c.pace.Wait(ctx, n)
}

func (c *scrubber) change(fn func(*scrubState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.state)
}

func (c *scrubber) snapshot() scrubState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *scrubber) save() {
	st := c.snapshot()
	if err := vfs.WriteAtomic(c.s.o.FS, c.path, st.encode()); err != nil {
		c.s.o.Logger.Warn("place of the scrub not saved; after a restart it begins at the last one", "file", c.path, "err", err)
	}
	c.saved = time.Now()
}
