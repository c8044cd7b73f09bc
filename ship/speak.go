package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// answerTimeout bounds one frame to the sender; it reads them at once, always.
const answerTimeout = 10 * time.Second

func (in *inbound) write(typ uint8, parts ...[]byte) error {
	in.wmu.Lock()
	defer in.wmu.Unlock()
	_ = in.conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	return wire.WriteFrame(in.conn, typ, parts...)
}

// speak sends the newest ack when it has moved, and a sign of life at every
// heartbeat; acks that come close together become one.
func (in *inbound) speak() error {
	t := time.NewTicker(in.r.o.Heartbeat)
	defer t.Stop()
	var broken <-chan error
	if b, ok := in.stream.(interface{ Broken() <-chan error }); ok {
		broken = b.Broken()
	}
	var notice <-chan struct{}
	if n, ok := in.stream.(noticer); ok && in.hello.Notices {
		notice = n.Notice()
	}
	for {
		var err error
		select {
		case <-notice:
			err = in.write(frameNotice)
		case <-in.ackable:
			in.mu.Lock()
			p := in.acked
			in.mu.Unlock()
			if !p.IsZero() {
				if err = in.write(frameAck, encodeNumbers(uint64(p.Epoch), uint64(p.LSN))); err == nil {
					crashpoint.Here("ship.delta.acked")
				}
			}
			if err == nil {
				err = in.tellWhole()
			}
		case <-t.C:
			if err = in.write(frameAlive); err == nil {
				err = in.tellWhole()
			}
		case err = <-broken:
			if err == nil {
				err = &redoubt.Error{Op: "receive", Object: string(in.hello.Group), Err: fmt.Errorf("the stream was ended: %w", redoubt.ErrUnavailable)}
			}
		case <-in.ctx.Done():
			return context.Cause(in.ctx)
		}
		if err != nil {
			return err
		}
	}
}

// sendDirty tells the sender what this side has changed.
func (in *inbound) sendDirty() error {
	var b []byte
	var werr error
	err := in.stream.Dirty(func(d redoubt.DiskID, x redoubt.Extent) bool {
		if b = appendDirty(b, d, x); len(b)+dirtyLen > maxControl {
			werr = in.write(frameDirty, b)
			b = b[:0]
		}
		return werr == nil && in.ctx.Err() == nil
	})
	switch {
	case err != nil:
		return err
	case werr != nil:
		return werr
	case in.ctx.Err() != nil:
		return context.Cause(in.ctx)
	}
	if len(b) > 0 {
		if err := in.write(frameDirty, b); err != nil {
			return err
		}
	}
	return in.write(frameDirtyEnd)
}

// lastWord tells the sender why its stream ends and drains what it still sends:
// closing over unread input would discard our words.
func (in *inbound) lastWord(err error) {
	var lost net.Error
	if errors.As(err, &lost) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errSuperseded) || in.r.ctx.Err() != nil {
		return // nobody listens
	}
	if in.write(frameError, wire.EncodeError(err)) != nil {
		return
	}
	if c, ok := in.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	_ = in.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, in.conn)
}

// wholeTeller is a Stream that knows what is fully redundant.
type wholeTeller interface{ Whole() redoubt.LSN }

// tellWhole tells the sender what is fully redundant, when that has changed.
func (in *inbound) tellWhole() error {
	if in.teller == nil {
		return nil
	}
	l := in.teller.Whole()
	if in.spoken && l == in.told {
		return nil
	}
	in.told, in.spoken = l, true
	return in.write(frameWhole, encodeNumbers(uint64(in.hello.Epoch), uint64(l)))
}
