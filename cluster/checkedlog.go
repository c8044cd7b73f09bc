package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metrics"
	"github.com/hashicorp/raft-wal/verifier"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// durableLog is a log store that can be closed. raft-wal's is one.
type durableLog interface {
	raft.LogStore
	Close() error
}

// checkedLog compares what is in the log with what the leader wrote: raft-wal's
// verifier sums up entries as they come, the leader's sum travels in a checkpoint
// entry, and each node holds its own sum and what it reads back against it.
//
// The verifier goes on with its sum when entries at the end of the log are taken
// back, as Raft does after a change of leaders, or when a snapshot takes the
// place of the whole log. Such a sum has entries in it that are not there: a
// sound node would be called corrupt, and if it leads, all others. So a new
// verifier begins then; the range that it cannot know is not judged.
type checkedLog struct {
	durableLog
	judge func(verifier.VerificationReport)
	begun atomic.Uint64 // verifiers

	mu  sync.Mutex // guards cur: no verifier ends while it takes entries
	cur *verifier.LogStore
}

func newCheckedLog(l durableLog, judge func(verifier.VerificationReport)) *checkedLog {
	c := &checkedLog{durableLog: l, judge: judge}
	c.begin()
	return c
}

// begin makes the verifier that sums from now on.
func (c *checkedLog) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cur != nil {
		_ = c.cur.Close()
	}
	mine := c.begun.Add(1)
	c.cur = verifier.NewLogStore(keepOpen{c.durableLog}, isCheckpoint, func(r verifier.VerificationReport) {
		if mine == c.begun.Load() { // or it may have read entries that were being taken back
			c.judge(r)
		}
	}, &metrics.NoOpCollector{})
}

// keepOpen keeps a verifier from closing the log under it.
type keepOpen struct{ raft.LogStore }

// StoreLog implements raft.LogStore.
func (c *checkedLog) StoreLog(e *raft.Log) error { return c.StoreLogs([]*raft.Log{e}) }

// StoreLogs implements raft.LogStore.
func (c *checkedLog) StoreLogs(es []*raft.Log) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cur.StoreLogs(es)
}

// DeleteRange implements raft.LogStore.
func (c *checkedLog) DeleteRange(lo, hi uint64) error {
	last, err := c.LastIndex()
	if err != nil {
		return err
	}
	if hi >= last {
		c.begin()
	}
	return c.durableLog.DeleteRange(lo, hi)
}

// IsMonotonic passes on what the log says.
func (c *checkedLog) IsMonotonic() bool {
	m, ok := c.durableLog.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// Close ends the verifier and closes the log.
func (c *checkedLog) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.cur.Close(), c.durableLog.Close())
}

func isCheckpoint(l *raft.Log) (bool, error) {
	return l.Type == raft.LogCommand && catalog.IsCheckpoint(l.Data), nil
}

// reporter judges what the verifier found: entries that read back differently
// from what the leader wrote mean that this node's log lies.
func reporter(log *slog.Logger, lying func(error)) verifier.ReportFn {
	return func(r verifier.VerificationReport) {
		var mismatch verifier.ErrChecksumMismatch
		switch {
		case r.Err == nil:
			log.Debug("raft log verified", "range", r.Range.String(), "elapsed", r.Elapsed)
		case errors.As(r.Err, &mismatch):
			lying(fail("verify raft log", r.Range.String(), fmt.Errorf("%w: %w", mismatch, redoubt.ErrCorrupt),
				"the disk of this node is not to be trusted; replace it and bring the node back under a new name"))
		default:
			log.Debug("raft log not verified", "range", r.Range.String(), "error", r.Err)
		}
	}
}
