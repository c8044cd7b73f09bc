package view

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
)

const (
	aheadReaders = 16       // sequential readers of a View that are remembered
	aheadAfter   = 3        // reads in a row before a reader counts as sequential
	aheadWindow  = 8 << 20  // bytes of the disk that are brought in front of a reader
	aheadStep    = 1 << 20  // of them by one lookup
	aheadSlack   = 2 << 20  // how far a reader with many requests under way goes out of order
	aheadTotal   = 32 << 20 // bytes that are being brought at the same time, over all Views
)

// ahead notices sequential readers of a View and has the blocks in front of
// them brought into the cache, from several nodes at once.
type ahead struct {
	mu      sync.Mutex
	readers []*reader // most recent last
}

// reader is one place at which somebody reads on.
type reader struct {
	disk    redoubt.DiskID
	next    uint64 // end of what was read
	row     int    // reads in a row
	fetched uint64 // everything below is in the cache or on its way
}

// note remembers a read and returns what to bring now; it is empty most of the time.
func (a *ahead) note(d redoubt.DiskID, e redoubt.Extent, window, size uint64) redoubt.Extent {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, r := range a.readers {
		if r.disk != d || e.Off > r.next+aheadSlack || e.End()+aheadSlack < r.next {
			continue
		}
		a.readers = append(append(a.readers[:i:i], a.readers[i+1:]...), r)
		if e.End() <= r.next {
			return redoubt.Extent{} // the same again, or one that was overtaken
		}
		r.row++
		r.next = e.End()
		from := max(r.fetched, r.next)
		to := min(r.next+window, size)
		// Not for every read: a step at a time.
		if r.row < aheadAfter || from >= to || to-from < min(aheadStep, window/2) && to != size {
			return redoubt.Extent{}
		}
		r.fetched = to
		return redoubt.Extent{Off: from, Len: to - from}
	}
	if len(a.readers) == aheadReaders {
		a.readers = a.readers[1:]
	}
	a.readers = append(a.readers, &reader{disk: d, next: e.End(), row: 1})
	return redoubt.Extent{}
}

// prefetch notes a read and, if it continues a sequence, brings what follows.
// It does not wait.
func (v *View) prefetch(d redoubt.Disk, e redoubt.Extent) {
	window := min(aheadWindow, uint64(v.r.o.CacheBytes)/4)
	want := v.ahead.note(d.ID, e, window, d.Size)
	for !want.Empty() {
		part := redoubt.Extent{Off: want.Off, Len: min(want.Len, aheadStep)}
		want.Off, want.Len = part.End(), want.Len-part.Len
		// Memory is bounded: with too much under way the reader goes on by itself.
		if !v.r.room.TryAcquire(int64(part.Len)) {
			return
		}
		ok := v.r.o.Go(func() {
			defer v.r.room.Release(int64(part.Len))
			v.bring(d.ID, part)
		})
		if !ok {
			v.r.room.Release(int64(part.Len))
			return
		}
	}
}

func (v *View) bring(d redoubt.DiskID, e redoubt.Extent) {
	ctx, cancel := context.WithTimeout(v.ctx, readTimeout)
	defer cancel()
	pieces, err := v.prefix.Lookup(ctx, d, e)
	if err != nil {
		return // the reader meets it itself
	}
	all, err := v.stretches(ctx, pieces)
	if err != nil {
		return
	}
	v.r.brought.Add(1)
	var g errgroup.Group
	g.SetLimit(parallelReads)
	for _, st := range all {
		g.Go(func() error {
			v.r.loadAhead(ctx, st)
			return nil
		})
	}
	_ = g.Wait() // loadAhead has no error
}
