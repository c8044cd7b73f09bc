package index

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// job is a merge that is due.
type job struct {
	s           Series
	start, size uint64
}

// merger does the merges of one lane, the smallest first, and syncs when it
// runs out of them.
func (x *Index) merger(number int) {
	defer x.stopped.Done()
	l := &lane{x: x}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for x.ctx.Err() == nil {
		j, wait, ok := x.pick(number)
		if ok {
			err := x.merge(l, j)
			x.finished(j, err)
			continue
		}
		if err := l.sync(); err != nil {
			x.latch(err)
		}
		timer.Reset(wait)
		select {
		case <-x.ctx.Done():
		case <-x.wake[number]:
		case <-timer.C:
		}
	}
	if err := l.seal(); err != nil {
		x.latch(err)
	}
}

// pick chooses a job for the lane and marks it as taken.
func (x *Index) pick(number int) (job, time.Duration, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	wait := time.Hour
	if x.failed != nil {
		return job{}, wait, false
	}
	now := time.Now()
	var best job
	for s, st := range x.series {
		fan := uint64(1) << x.o.FanBits
		for size := fan; size <= st.count && (best.size == 0 || size < best.size); size <<= x.o.FanBits {
			start := min(x.due(s, st, size), st.count&^(size-1))
			st.next[size] = start
			if start+size > st.count || st.busy[size] {
				continue
			}
			if until := st.retry[size].Sub(now); until > 0 {
				wait = min(wait, until)
				continue
			}
			if n, ready := x.children(s, start, size); !ready || (n >= x.o.BigRun) != (number == laneBig) {
				continue
			}
			best = job{s, start, size}
		}
	}
	if best.size == 0 {
		return job{}, wait, false
	}
	x.series[best.s].busy[best.size] = true
	x.busy++
	return best, 0, true
}

// children counts the entries of the runs that make up [start, start+size);
// ready is false if one is not there yet. x.mu is held.
func (x *Index) children(s Series, start, size uint64) (n uint64, ready bool) {
	part := size >> x.o.FanBits
	if part == 1 {
		return 0, true // heads; they are small
	}
	for at := start; at < start+size; at += part {
		k := x.runs.get(runKey{s, at, part})
		if !k.there() {
			if x.gone(s, at, at+part) {
				continue
			}
			return 0, false
		}
		n += uint64(k.entries)
	}
	return n, true
}

// merge overlays the children, newest on top, and stores the run.
func (x *Index) merge(l *lane, j job) error {
	part := j.size >> x.o.FanBits
	var all stream
	for at := j.start; at < j.start+j.size; at += part {
		var s stream
		if part == 1 {
			fs, err := x.head(x.ctx, j.s, at)
			if err != nil {
				return err
			}
			s = sliceStream(fs)
		} else {
			x.mu.Lock()
			k := x.runs.get(runKey{j.s, at, part})
			x.mu.Unlock()
			if !k.there() {
				if x.gone(j.s, at, at+part) {
					continue
				}
				return redoubt.ErrNotFound
			}
			s = x.checked(k)
		}
		if all == nil {
			all = s
		} else {
			all = overlay(s, all)
		}
	}
	if all == nil { // it went meanwhile
		all = sliceStream(nil)
	}
	all = cancelled(x.ctx, joinZeros(all))
	return l.add(&run{Series: j.s, start: j.start, count: j.size}, all)
}

// checked streams a run and drops it when it turns out to be rotten.
func (x *Index) checked(k known) stream {
	s := x.streamOf(k)
	return func() (flat, bool, error) {
		f, ok, err := s()
		if errors.Is(err, redoubt.ErrCorrupt) {
			x.drop(k, err)
			err = errRetry
		}
		return f, ok, err
	}
}

// errRetry: a child was rotten; once it is built again the merge can go on.
var errRetry = errors.New("a part of the merge is damaged")

func cancelled(ctx context.Context, s stream) stream {
	n := 0
	return func() (flat, bool, error) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return flat{}, false, ctx.Err()
		}
		return s()
	}
}

func (x *Index) finished(j job, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	st, there := x.series[j.s] // not, if it was forgotten meanwhile
	if there {
		delete(st.busy, j.size)
	}
	x.busy--
	if err == nil && there {
		delete(st.retry, j.size)
	} else if there && x.ctx.Err() == nil {
		st.retry[j.size] = time.Now().Add(x.o.RetryAfter)
		x.o.Logger.Warn("index merge failed; it is tried again", "group", j.s.Group, "epoch", j.s.Epoch, "first", j.start, "count", j.size, "err", err)
	}
	x.idle.Broadcast()
	// A merge makes one of the next size possible, perhaps for the other lane.
	for i := range x.wake {
		select {
		case x.wake[i] <- struct{}{}:
		default:
		}
	}
}

// latch stops merging after a failed sync: what the files hold is then
// unknown. Lookups go on, from heads where runs are missing.
func (x *Index) latch(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed == nil && !errors.Is(err, redoubt.ErrClosed) {
		x.failed = err
		x.o.Logger.Error("index cannot be written; no run is merged until it is reopened", "dir", x.dir, "err", err)
	}
}

// Settle waits until no merge is due. Failing merges keep it waiting.
func (x *Index) Settle(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		x.mu.Lock()
		x.idle.Broadcast()
		x.mu.Unlock()
	})
	defer stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	for ctx.Err() == nil && x.ctx.Err() == nil && x.failed == nil {
		if x.busy == 0 && !x.anyDue() {
			return nil
		}
		x.idle.Wait()
	}
	if x.failed != nil {
		return x.failed
	}
	return redoubt.ErrClosed
}

func (x *Index) anyDue() bool {
	for s, st := range x.series {
		for size := uint64(1) << x.o.FanBits; size <= st.count; size <<= x.o.FanBits {
			if x.due(s, st, size)+size <= st.count {
				return true
			}
		}
	}
	return false
}
