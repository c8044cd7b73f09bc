package view

import (
	"context"

	"github.com/redoubt-dr/redoubt"
)

// scanDepth is how many extents of at most nextDataMax bytes a scan holds in
// memory: one that is delivered and the rest under way.
const scanDepth = 5

// scanned is an extent on its way to the caller of EachData.
type scanned struct {
	off  uint64
	data []byte
	err  error
}

// EachData calls fn for everything of the disk that may hold anything but
// zeros, in order. Extents are at most 4 MiB; several are read ahead, which
// takes up to 20 MiB. data is valid during the call only. Every byte was
// verified as ReadAt does.
func (v *View) EachData(ctx context.Context, d redoubt.DiskID, fn func(off uint64, data []byte) error) error {
	if _, err := v.disk(d); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.ctx, cancel)()
	queue := make(chan chan scanned, scanDepth-2)
	free := make(chan []byte, scanDepth)
	go func() {
		defer close(queue)
		v.scan(ctx, d, queue, free)
	}()
	for next := range queue {
		x := <-next
		if x.err == nil {
			x.err = fn(x.off, x.data)
			free <- x.data[:cap(x.data)]
		}
		if x.err != nil {
			cancel()
			for next := range queue {
				<-next
			}
			return x.err
		}
	}
	if v.ctx.Err() != nil {
		return &redoubt.Error{Op: "read point", Object: v.pos.String(), Err: redoubt.ErrClosed}
	}
	return ctx.Err()
}

// scan starts a read for every extent; a full queue holds it back.
func (v *View) scan(ctx context.Context, d redoubt.DiskID, queue chan<- chan scanned, free <-chan []byte) {
	for from := uint64(0); ; {
		e, ok, err := v.NextData(d, from)
		if err == nil && !ok {
			return
		}
		next := make(chan scanned, 1)
		select {
		case queue <- next:
		case <-ctx.Done():
			return
		}
		if err != nil {
			next <- scanned{err: err}
			return
		}
		from = e.End()
		go func() {
			var p []byte
			select {
			case p = <-free:
			default:
				p = make([]byte, nextDataMax)
			}
			p = p[:e.Len]
			c, cancel := context.WithTimeout(ctx, readTimeout)
			defer cancel()
			err := v.readBulk(c, d, p, e.Off)
			if err != nil {
				err = &redoubt.Error{Op: "read point " + v.pos.String() + " disk", Object: d.String(), Err: err, Hint: redoubt.Hint(err)}
			}
			next <- scanned{e.Off, p, err}
		}()
	}
}
