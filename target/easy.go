package target

import (
	"context"
	"time"
)

// easy lets a look through the whole history take a quarter of a processor at
// most: it may be long, and what operators and sources wait for comes first. For
// one goroutine.
type easy struct {
	n     int
	since time.Time
	spent time.Duration // at work, without the pauses
}

const easyEvery = 1 << 12 // steps; a few milliseconds

// step is called for each segment or shard; now and then it pauses. It reports
// whether ctx goes on.
func (e *easy) step(ctx context.Context) bool {
	if e.n == 0 {
		e.since = time.Now()
	}
	if e.n++; e.n%easyEvery != 0 {
		return true
	}
	work := time.Since(e.since)
	e.spent += work
	t := time.NewTimer(3 * work)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	e.since = time.Now()
	return ctx.Err() == nil
}

// worked returns how long the steps took, without the pauses.
func (e *easy) worked() time.Duration {
	if e.n == 0 {
		return 0
	}
	return e.spent + time.Since(e.since)
}

// startTicks is how long what can wait lets a node start: its first request
// comes first.
const startTicks = 10

// afterStart waits until the node has been up for startTicks. It reports
// whether the store is still open.
func (s *Store) afterStart() bool {
	t := time.NewTimer(startTicks * s.o.Tick)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
	return s.ctx.Err() == nil
}
