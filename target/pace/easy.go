package pace

import (
	"context"
	"time"
)

// Easy lets a look through the whole history take a quarter of a processor at
// most: it may be long, and what operators and sources wait for comes first. For
// one goroutine.
type Easy struct {
	n     int
	since time.Time
	spent time.Duration // at work, without the pauses
}

const easyEvery = 1 << 12 // steps; a few milliseconds

// Step is called for each segment or shard; now and then it pauses. It reports
// whether ctx goes on.
func (e *Easy) Step(ctx context.Context) bool {
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

// Worked returns how long the steps took, without the pauses.
func (e *Easy) Worked() time.Duration {
	if e.n == 0 {
		return 0
	}
	return e.spent + time.Since(e.since)
}

// startTicks is how long what can wait lets a node start: its first request
// comes first.
const startTicks = 10

// AfterStart waits for startTicks of the given length. It reports whether ctx
// goes on.
func AfterStart(ctx context.Context, tick time.Duration) bool {
	t := time.NewTimer(startTicks * tick)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
