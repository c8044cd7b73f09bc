package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
)

// watchdog notices operations that do not end. Raft's leader keeps sending
// heartbeats while its disk hangs, so without it a hung leader leads for ever.
//
// It counts looks, not time: a process that was stopped, or a machine that
// slept, finds its operations as old as the pause, and its disk is sound.
type watchdog struct {
	limit time.Duration
	fatal func(error)

	mu   sync.Mutex
	next uint64
	open map[uint64]*operation
}

type operation struct {
	name  string
	looks int // how often it was seen under way
}

// looks is how often the watchdog looks within its limit.
const looks = 8

func newWatchdog(limit time.Duration, fatal func(error)) *watchdog {
	return &watchdog{limit: limit, fatal: fatal, open: map[uint64]*operation{}}
}

// begin notes that an operation starts and returns what to call at its end.
func (w *watchdog) begin(name string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	id := w.next
	w.open[id] = &operation{name: name}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, id)
	}
}

// look returns an error if an operation has been under way for longer than the limit.
func (w *watchdog) look() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.open {
		if op.looks++; op.looks > looks {
			return fail("watch the disk of the Raft log", op.name, fmt.Errorf("no answer for %v: %w", w.limit, redoubt.ErrFailed),
				"the disk hangs; the node ends so that others take over")
		}
	}
	return nil
}

// run looks until done is closed or the limit was exceeded once.
func (w *watchdog) run(done <-chan struct{}) {
	t := time.NewTicker(max(w.limit/looks, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
			if err := w.look(); err != nil {
				w.fatal(err)
				return
			}
		}
	}
}

// watchedLog puts the watchdog around a log store, and tells what became durable.
type watchedLog struct {
	raft.LogStore
	dog      *watchdog
	appended func([]*raft.Log)
}

func (l watchedLog) StoreLog(e *raft.Log) error { return l.StoreLogs([]*raft.Log{e}) }

func (l watchedLog) StoreLogs(es []*raft.Log) error {
	defer l.dog.begin("store log entries")()
	err := l.LogStore.StoreLogs(es)
	if err == nil {
		l.appended(es)
	}
	return err
}

func (l watchedLog) GetLog(i uint64, e *raft.Log) error {
	defer l.dog.begin("read log entry")()
	return l.LogStore.GetLog(i, e)
}

func (l watchedLog) DeleteRange(lo, hi uint64) error {
	defer l.dog.begin("delete log entries")()
	return l.LogStore.DeleteRange(lo, hi)
}

// IsMonotonic passes on what the store below says.
func (l watchedLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// watchedStable puts the watchdog around a stable store (term and vote).
type watchedStable struct {
	raft.StableStore
	dog *watchdog
}

func (s watchedStable) Set(k, v []byte) error {
	defer s.dog.begin("store vote")()
	return s.StableStore.Set(k, v)
}

func (s watchedStable) SetUint64(k []byte, v uint64) error {
	defer s.dog.begin("store term")()
	return s.StableStore.SetUint64(k, v)
}
