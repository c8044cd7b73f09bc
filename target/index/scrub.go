package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Scrubbed is what Scrub has seen.
type Scrubbed struct {
	Runs   int
	Bytes  int64
	Rotten int // runs that did not hold; they are built again
}

const scrubBuffer = 256 << 10

// Scrub reads every block of every run from the disk and verifies it. A run that
// does not hold is dropped, and merged again from what is below it. wait is
// called before each read with its bytes; its error ends the scrub.
func (x *Index) Scrub(ctx context.Context, wait func(context.Context, int64) error) (s Scrubbed, err error) {
	x.mu.Lock()
	runs := x.runs.all()
	x.mu.Unlock()
	slices.SortFunc(runs, func(a, b known) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.sector, b.sector)) })
	last := uint32(0)
	for _, k := range runs {
		n, stale, err := x.scrubRun(ctx, k, wait)
		x.noteStale(k, stale, k.file != last)
		last = k.file
		switch {
		case errors.Is(err, errMoved):
			continue
		case errors.Is(err, redoubt.ErrCorrupt):
			s.Rotten++
			x.drop(k, err)
		case err != nil:
			return s, err
		}
		s.Runs++
		s.Bytes += n
	}
	return s, nil
}

// scrubRun verifies the header of a run, and its blocks, which lie one behind
// the other. It returns their bytes, and how many entries are of segments that
// are gone.
func (x *Index) scrubRun(ctx context.Context, k known, wait func(context.Context, int64) error) (n int64, stale uint64, err error) {
	if err := wait(ctx, sector); err != nil {
		return 0, 0, err
	}
	x.uncache(uint64(k.file), int64(k.sector)*sector, sector)
	r, err := x.readHeader(k)
	if err != nil {
		return 0, 0, err
	}
	stale, err = x.scrubBlocks(ctx, r, wait)
	return int64(r.bodyLen), stale, err
}

// scrubBlocks returns how many entries are of segments that are gone.
func (x *Index) scrubBlocks(ctx context.Context, r *run, wait func(context.Context, int64) error) (stale uint64, err error) {
	var buf []byte
	var entries uint64
	left := x.leftOf(r.Series)
	end := sector + r.bodyLen
	for at := uint64(sector); at < end || len(buf) > 0; {
		if len(buf) < maxBlock && at < end {
			n := min(scrubBuffer, end-at)
			if err := wait(ctx, int64(n)); err != nil {
				return stale, err
			}
			b := make([]byte, uint64(len(buf))+n)
			k := copy(b, buf)
			x.uncache(r.file, r.off+int64(at), int64(n))
			if err := x.readAt(r.file, b[k:], r.off+int64(at)); err != nil {
				return stale, err
			}
			buf, at = b, at+n
		}
		n, err := frameLen(buf)
		if err != nil {
			return stale, err
		}
		b, err := decodeBlock(buf[:n], r.file, r.off+int64(at)-int64(len(buf)))
		if err != nil {
			return stale, err
		}
		entries += uint64(len(b.leaf))
		for i := range b.leaf {
			if f := &b.leaf[i]; !f.zero && !left(f.ordinal) {
				stale++
			}
		}
		buf = buf[n:]
	}
	if entries != r.entries {
		return stale, corrupt(fmt.Sprintf("%d entries instead of %d", entries, r.entries))
	}
	return stale, nil
}

// uncache has the next read ask the disk, where that can be had.
func (x *Index) uncache(file uint64, off, n int64) {
	x.mu.Lock()
	f := x.files[file]
	x.mu.Unlock()
	if f == nil {
		return
	}
	if u, ok := f.File.(interface {
		Uncache(off, n int64) error
	}); ok {
		_ = u.Uncache(off, n)
	}
}
