package view

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/index"
)

// View is the disks of a group as they were at one position. It is read-only
// and lazy: opening reads at most one head per epoch, reading fetches what is
// asked for. It stays right while the store goes on. Methods may be called
// concurrently.
type View struct {
	r      *Reader
	pos    redoubt.Position
	disks  []redoubt.Disk
	series map[redoubt.Epoch]index.Series
	prefix *index.Prefix
	ahead  ahead
	ctx    context.Context
	cancel context.CancelFunc

	release func() // ends the lease
}

const (
	readTimeout   = 30 * time.Second // of one ReadAt or NextData
	parallelReads = 4                // blocks that one ReadAt fetches at the same time
	nextDataMax   = 4 << 20          // longest extent that NextData returns, in bytes
)

// Position is the point that the View shows.
func (v *View) Position() redoubt.Position { return v.pos }

// Disks are the group's disks, as they were at the point.
func (v *View) Disks() []redoubt.Disk { return v.disks }

// Close ends reads that are under way; later ones fail with ErrClosed.
func (v *View) Close() error {
	v.cancel()
	v.release()
	return nil
}

func (v *View) disk(d redoubt.DiskID) (redoubt.Disk, error) {
	for _, k := range v.disks {
		if k.ID == d {
			return k, nil
		}
	}
	return redoubt.Disk{}, &redoubt.Error{Op: "read disk", Object: d.String(), Err: redoubt.ErrNotFound}
}

// within returns the disk, of which e must be a range.
func (v *View) within(d redoubt.DiskID, e redoubt.Extent) (redoubt.Disk, error) {
	disk, err := v.disk(d)
	if err == nil && !e.Within(disk.Size) {
		err = &redoubt.Error{Op: "read disk", Object: disk.Name, Err: fmt.Errorf("%s of %d bytes: %w", e, disk.Size, redoubt.ErrOutOfRange)}
	}
	return disk, err
}

func (v *View) begin() (context.Context, context.CancelFunc, error) {
	if v.ctx.Err() != nil {
		return nil, nil, &redoubt.Error{Op: "read point", Object: v.pos.String(), Err: redoubt.ErrClosed}
	}
	ctx, cancel := context.WithTimeout(v.ctx, readTimeout)
	return ctx, cancel, nil
}

// read has fn read a range of the disk within readTimeout, after it was found to
// be one, and says of its error what was read.
func (v *View) read(d redoubt.DiskID, e redoubt.Extent, fn func(ctx context.Context, disk redoubt.Disk) error) error {
	disk, err := v.within(d, e)
	if err != nil {
		return err
	}
	ctx, cancel, err := v.begin()
	if err != nil {
		return err
	}
	defer cancel()
	if err := fn(ctx, disk); err != nil {
		return &redoubt.Error{Op: "read point " + v.pos.String() + " disk", Object: disk.Name, Err: err}
	}
	return nil
}

// ReadAt fills p with the disk's bytes from off on. Every byte was verified
// against the checksum that was made where it entered Redoubt; if that cannot
// be done, it returns an error and p has no meaning.
func (v *View) ReadAt(d redoubt.DiskID, p []byte, off uint64) error {
	e := redoubt.Extent{Off: off, Len: uint64(len(p))}
	return v.read(d, e, func(ctx context.Context, disk redoubt.Disk) error {
		v.prefetch(disk, e)
		return v.readBlocks(ctx, d, p, off)
	})
}

// ReadThrough is ReadAt with few large fetches and past the cache: for those
// who read everything once.
func (v *View) ReadThrough(d redoubt.DiskID, p []byte, off uint64) error {
	return v.read(d, redoubt.Extent{Off: off, Len: uint64(len(p))}, func(ctx context.Context, _ redoubt.Disk) error {
		return v.readBulk(ctx, d, p, off)
	})
}

// readBlocks fills p by way of the cache.
func (v *View) readBlocks(ctx context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	pieces, err := v.prefix.Lookup(ctx, d, redoubt.Extent{Off: off, Len: uint64(len(p))})
	if err != nil {
		return err
	}
	clear(p)
	var fetches errgroup.Group
	fetches.SetLimit(parallelReads)
	var one *index.Piece // fetched here: most reads need one block only
	for i := range pieces {
		q := &pieces[i]
		if q.Kind != index.Data {
			continue
		}
		if one != nil {
			w := one
			fetches.Go(func() error { return v.fill(ctx, w, p[w.Extent.Off-off:][:w.Extent.Len]) })
		}
		one = q
	}
	if one != nil {
		err = v.fill(ctx, one, p[one.Extent.Off-off:][:one.Extent.Len])
	}
	if ferr := fetches.Wait(); err == nil {
		err = ferr
	}
	return err
}

// fill copies the bytes of a data piece.
func (v *View) fill(ctx context.Context, q *index.Piece, dst []byte) error {
	b, err := v.r.block(ctx, v.series[q.Ref.Epoch], q.Ref.Ordinal, q.Ref.Block)
	if err != nil {
		return err
	}
	return b.copyPiece(q, dst)
}

// NextData returns the next extent at or after from that may hold anything but
// zeros, at most 4 MiB of it; ok is false if there is none up to the disk's end.
func (v *View) NextData(d redoubt.DiskID, from uint64) (e redoubt.Extent, ok bool, err error) {
	disk, err := v.disk(d)
	if err != nil {
		return e, false, err
	}
	ctx, cancel, err := v.begin()
	if err != nil {
		return e, false, err
	}
	defer cancel()
	return v.prefix.NextData(ctx, d, from, disk.Size, nextDataMax)
}
