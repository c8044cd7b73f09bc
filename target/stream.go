package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// stream is the deltas of one connection for a group that this node owns. There
// is at most one per group; a new one waits until the old one is at rest.
type stream struct {
	s      *Store
	group  redoubt.GroupID
	series index.Series
	term   uint64
	writer string
	k, m   int
	names  map[redoubt.DiskID]string // of the disks that the sender may speak of

	whole  *wholeness
	notice chan struct{} // one token: the job of the group has news for the source
	job    jobNews       // owned by follow
	broken chan error
	ctx    context.Context // ends with the stream
	cancel context.CancelFunc

	mu      sync.Mutex
	next    redoubt.LSN // first LSN of the next delta
	ordinal uint64      // of the next segment
	last    int64       // time of the last write before next
	pending []*item     // in order; the first of them may be in a proposal
	flying  int         // items of pending that are in a proposal
	err     error       // why the stream is over
	atRest  *sync.Cond  // flying is 0
}

func newStream(s *Store, g *catalog.Group, ordinal uint64, tail redoubt.LSN) *stream {
	st := &stream{s: s, group: g.ID, series: shards.SeriesOf(g, g.Epoch), term: g.OwnerTerm, writer: g.Writer, k: g.K, m: g.M,
		whole: newWholeness(s.catalog, shards.SeriesOf(g, g.Epoch), tail), notice: make(chan struct{}, 1), broken: make(chan error, 1), next: g.Committed.LSN + 1, ordinal: ordinal, last: g.CommittedTime}
	st.ctx, st.cancel = context.WithCancel(s.ctx)
	st.atRest = sync.NewCond(&st.mu)
	return st
}

// Begin checks that the stream starts right after what is committed.
func (st *stream) Begin(start redoubt.LSN) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if start > st.next {
		return &redoubt.Error{Op: "begin stream of group", Object: string(st.group),
			Err: fmt.Errorf("it starts at LSN %d, expected %d: %w", start, st.next, redoubt.ErrGap)}
	}
	return st.err
}

// Append takes the next delta. It blocks while PendingBytes are not committed.
func (st *stream) Append(d *ship.Delta, done func(redoubt.Position, error)) {
	n := min(int64(d.Size()), st.s.o.PendingBytes)
	if err := st.s.room.Acquire(st.ctx, n); err != nil {
		done(redoubt.Position{}, st.over())
		return
	}
	it := &item{st: st, d: d, done: done, bytes: n, begun: time.Now()}
	it.users.Store(2) // until done, and storeItem
	st.mu.Lock()
	var err error
	duplicate := false
	switch {
	case st.err != nil:
		err = st.err
	case d.Epoch != st.series.Epoch || d.Group != st.group:
		err = &redoubt.Error{Op: "store delta", Object: string(st.group), Err: fmt.Errorf("delta of group %s epoch %d: %w", d.Group, d.Epoch, redoubt.ErrFenced)}
	case d.Last < st.next:
		duplicate = true
	case d.First != st.next:
		err = &redoubt.Error{Op: "store delta", Object: string(st.group), Err: fmt.Errorf("LSN %d instead of %d: %w", d.First, st.next, redoubt.ErrGap)}
	default:
		it.seg = newSegment(d, st.ordinal, st.k, st.m)
		// Times along a history never fall, though the clock of a new writer
		// may be behind that of the one before.
		it.seg.FirstTime = max(it.seg.FirstTime, st.last)
		it.seg.LastTime = max(it.seg.LastTime, it.seg.FirstTime)
		st.last = it.seg.LastTime
		st.ordinal++
		st.next = d.Last + 1
		st.pending = append(st.pending, it)
		st.s.run(func() { st.storeItem(it) }) // under mu: Close fails the stream before it waits
	}
	pos := redoubt.Position{Epoch: st.series.Epoch, LSN: st.next - 1}
	if duplicate && len(st.pending) > 0 {
		pos.LSN = st.pending[0].d.First - 1
	}
	st.mu.Unlock()
	if err != nil || duplicate {
		st.s.room.Release(n)
		done(pos, err)
		return
	}
	st.s.counter.bytesIn.Add(uint64(d.Size()))
	st.s.contact(st.series, d.Last, d.LastTime)
}

// storeItem makes one delta durable and hands it to the committer.
func (st *stream) storeItem(it *item) {
	defer it.leave()
	err := st.s.store(st.ctx, it)
	if err == nil {
		err = st.s.nameMarks(st.ctx, it)
	}
	if err != nil {
		st.fail(err)
		return
	}
	if err := st.s.noteDisks(st.ctx, it); err != nil {
		st.fail(err)
		return
	}
	crashpoint.Here("target.delta.stored")
	st.mu.Lock()
	it.ready = true
	st.mu.Unlock()
	st.s.poke()
}

// takeReady marks the durable prefix of pending as being committed.
func (st *stream) takeReady(limit int) []*item {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil || st.flying > 0 {
		return nil
	}
	n := 0
	for n < len(st.pending) && n < limit && st.pending[n].ready {
		n++
	}
	st.flying = n
	return append([]*item(nil), st.pending[:n]...)
}

// committed is called once for what takeReady returned.
func (st *stream) committed(its []*item, err error) {
	st.mu.Lock()
	st.flying = 0
	if err == nil {
		st.pending = st.pending[len(its):]
	}
	st.atRest.Broadcast()
	over := st.err
	st.mu.Unlock()
	switch {
	case err != nil && over == nil:
		st.fail(err)
	case err != nil:
		st.drop(over)
	default:
		for _, it := range its {
			st.s.room.Release(it.bytes)
			it.done(it.d.Position(), nil)
			it.leave()
		}
		if over != nil {
			st.drop(over)
		}
	}
}

// fail ends the stream: later deltas and those not yet in a proposal fail.
func (st *stream) fail(err error) {
	st.mu.Lock()
	if st.err != nil {
		st.mu.Unlock()
		return
	}
	st.err = err
	st.mu.Unlock()
	if !errors.Is(err, redoubt.ErrClosed) && !errors.Is(err, context.Canceled) {
		st.s.o.Logger.Warn("stream ends", "group", st.group, "epoch", st.series.Epoch, "err", err)
	}
	st.cancel()
	select {
	case st.broken <- err:
	default:
	}
	st.drop(err)
}

// drop answers the pending items, except while a proposal may still commit them.
func (st *stream) drop(err error) {
	st.mu.Lock()
	var its []*item
	if st.flying == 0 {
		its, st.pending = st.pending, nil
	}
	st.mu.Unlock()
	for _, it := range its {
		st.s.room.Release(it.bytes)
		it.done(redoubt.Position{}, err)
		it.leave()
	}
}

func (st *stream) over() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		return st.err
	}
	return redoubt.ErrClosed
}

// stop ends the stream and waits until no proposal of it is under way.
func (st *stream) stop(err error) {
	st.fail(err)
	st.mu.Lock()
	for st.flying > 0 {
		st.atRest.Wait()
	}
	st.mu.Unlock()
}

// Heartbeat notes how far the sender's journal is.
func (st *stream) Heartbeat(head redoubt.LSN, headTime int64, _ int64) {
	st.s.contact(st.series, head, headTime)
}

// Dirty yields nothing: a store never asks for a resynchronisation.
func (st *stream) Dirty(func(redoubt.DiskID, redoubt.Extent) bool) error { return nil }

// Broken gives the error that ended the stream from this side.
func (st *stream) Broken() <-chan error { return st.broken }

// Close ends the stream when its connection is gone. What is in a proposal may
// still become committed.
func (st *stream) Close() {
	st.s.mu.Lock()
	if st.s.streams[st.group] == st && !st.s.closed {
		delete(st.s.streams, st.group)
	}
	st.s.mu.Unlock()
	st.stop(&redoubt.Error{Op: "store delta", Object: string(st.group), Err: redoubt.ErrClosed})
}
