package compare

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Disks is what is compared here: disks that are written to all the time.
type Disks interface {
	// ReadCurrent fills p with the newest content.
	ReadCurrent(d redoubt.DiskID, p []byte, off uint64) error
	// NextData returns the next range that may hold anything but zeros.
	NextData(d redoubt.DiskID, from uint64) (redoubt.Extent, bool)
}

// local reads the disks here, at no more than rate bytes a second.
type local struct {
	disks Disks
	rate  int64 // 0: no limit
	next  time.Time
	zero  *Tree
	read  uint64
}

func newLocal(d Disks, rate int64) *local {
	return &local{disks: d, rate: rate, zero: &newHasher().zero}
}

// trees returns the trees of the chunks [from, to) of a disk.
func (l *local) trees(ctx context.Context, disk redoubt.Disk, from, to uint64) ([]*Tree, error) {
	var out []*Tree
	for c := from; c < to; {
		data := to
		e, ok := l.disks.NextData(disk.ID, c*ChunkSize)
		if ok {
			data = min(to, e.Off/ChunkSize)
		}
		for ; c < data; c++ {
			out = append(out, l.zero)
		}
		if c == to {
			break
		}
		end := min(to, c+readAhead)
		some, err := l.plant(ctx, disk, c, end)
		if err != nil {
			return nil, err
		}
		out, c = append(out, some...), end
	}
	return out, nil
}

func (l *local) plant(ctx context.Context, disk redoubt.Disk, from, to uint64) ([]*Tree, error) {
	off := from * ChunkSize
	buf := make([]byte, min(to*ChunkSize, disk.Size)-off)
	if err := l.pace(ctx, int64(len(buf))); err != nil {
		return nil, err
	}
	if err := l.disks.ReadCurrent(disk.ID, buf, off); err != nil {
		return nil, err
	}
	l.read += uint64(len(buf))
	return plant(buf)
}

// pace waits until n more bytes may be read.
func (l *local) pace(ctx context.Context, n int64) error {
	if l.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now)
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
