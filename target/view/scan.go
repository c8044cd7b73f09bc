package view

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

const (
	// scanWindow is how many bytes of the disk are looked up together and fetched
	// in the order of the logs.
	scanWindow = 32 << 20
	// scanExtents is how many extents a window has at most.
	scanExtents = 1024
	// scanBytes bounds the extents of a scan that are in memory: one window that
	// is delivered and the next one under way.
	scanBytes = 2 * scanWindow
)

// EachData calls fn for everything of the disk that may hold anything but
// zeros, in order. Extents are at most 4 MiB. Up to 64 MiB are read ahead, and
// eight fetches of 1 MiB are under way; what fn does not take holds that back. data
// is valid during the call only. Every byte was verified as ReadAt does.
func (v *View) EachData(ctx context.Context, d redoubt.DiskID, fn func(off uint64, data []byte) error) error {
	if _, err := v.disk(d); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)()
	s := newScan(
		func(from uint64) (redoubt.Extent, bool, error) { return v.NextData(d, from) },
		func(ctx context.Context, ls []*load, start func(func(context.Context)) error) {
			v.loads(ctx, d, ls, start)
		})
	err := s.each(ctx, fn)
	switch {
	case v.ctx.Err() != nil:
		return &redoubt.Error{Op: "read point", Object: v.pos.String(), Err: redoubt.ErrClosed}
	case err != nil && s.failed:
		return &redoubt.Error{Op: "read point " + v.pos.String() + " disk", Object: d.String(), Err: err, Hint: redoubt.Hint(err)}
	}
	return err
}

// scan reads a disk window by window.
type scan struct {
	next   func(from uint64) (redoubt.Extent, bool, error)
	loads  func(ctx context.Context, ls []*load, start func(fetch func(context.Context)) error)
	failed bool // the error is that of a load

	queue chan *load // in the order of the disk
	slots chan struct{}
	room  *semaphore.Weighted // bytes of loads
	wg    sync.WaitGroup
}

func newScan(next func(uint64) (redoubt.Extent, bool, error), loads func(context.Context, []*load, func(func(context.Context)) error)) *scan {
	return &scan{next: next, loads: loads, queue: make(chan *load, scanExtents), slots: make(chan struct{}, parallelStretches), room: semaphore.NewWeighted(scanBytes)}
}

// each calls fn for the loads in order, until one fails, fn does, or ctx is over.
// When it returns nothing is under way.
func (s *scan) each(ctx context.Context, fn func(off uint64, data []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	s.wg.Go(func() { s.run(ctx) })
	defer s.wg.Wait()
	defer cancel()
	for l := range s.queue {
		<-l.done
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.err != nil {
			s.failed = true
			return l.err
		}
		if err := fn(l.Off, l.p); err != nil {
			return err
		}
		slab.Put(l.p)
		s.room.Release(int64(l.Len))
	}
	return ctx.Err()
}

func (s *scan) run(ctx context.Context) {
	defer close(s.queue)
	for from, more := uint64(0), true; more && ctx.Err() == nil; {
		var ls []*load
		ls, from, more = s.window(ctx, from)
		// Before anything is fetched, so that the first is delivered as soon as it is there.
		for _, l := range ls {
			select {
			case s.queue <- l:
			case <-ctx.Done():
			}
		}
		s.fetch(ctx, ls) // always: who waits for them hears of it
	}
}

// window takes memory for the next extents from from on; more is false behind
// the last. An error becomes that of an extent without bytes.
func (s *scan) window(ctx context.Context, from uint64) (ls []*load, next uint64, more bool) {
	for size := uint64(0); size+nextDataMax <= scanWindow && len(ls) < scanExtents; {
		e, ok, err := s.next(from)
		if err == nil && !ok {
			return ls, from, false
		}
		if err == nil {
			err = s.room.Acquire(ctx, int64(e.Len))
		}
		if err != nil {
			l := newLoad(e, nil)
			l.err = err
			return append(ls, l), from, false
		}
		ls = append(ls, newLoad(e, slab.Get(int(e.Len))))
		from, size = e.End(), size+e.Len
	}
	return ls, from, true
}

// fetch starts what ls need, as many at a time as there are slots.
func (s *scan) fetch(ctx context.Context, ls []*load) {
	c, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	s.loads(c, ls, func(fetch func(context.Context)) error {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			c, cancel := context.WithTimeout(ctx, readTimeout)
			defer cancel()
			fetch(c)
		})
		return nil
	})
}
