package rpc

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// serverConn is one connection at the answering side.
type serverConn struct {
	s    *Server
	peer pki.Identity
	w    *frameWriter
	ctx  context.Context

	mu      sync.Mutex
	room    *sync.Cond
	calls   int
	bytes   int
	cancels map[uint64]context.CancelFunc
}

func (sc *serverConn) frame(typ uint8, body []byte) error {
	switch typ {
	case framePing:
		_, err := sc.w.write(sc.ctx, framePong, idFrame(0))
		return err
	case frameCancel:
		id, _, err := splitID(body)
		if err != nil {
			return err
		}
		sc.mu.Lock()
		if cancel := sc.cancels[id]; cancel != nil {
			cancel()
		}
		sc.mu.Unlock()
		return nil
	case frameRequest:
		req, err := parseRequest(body)
		if err != nil {
			return err
		}
		return sc.start(req)
	}
	return &redoubt.Error{Op: "read frame", Err: fmt.Errorf("unexpected type %d: %w", typ, redoubt.ErrCorrupt)}
}

// start runs the call in a goroutine, after there is room for it.
func (sc *serverConn) start(req request) error {
	ctx, cancel := sc.callContext(req.timeout)
	sc.mu.Lock()
	for sc.ctx.Err() == nil && sc.calls > 0 && (sc.calls >= maxCalls || sc.bytes+len(req.body) > maxCallBytes) {
		sc.room.Wait()
	}
	if _, dup := sc.cancels[req.id]; dup || sc.ctx.Err() != nil {
		sc.mu.Unlock()
		cancel()
		return &redoubt.Error{Op: "start call", Object: req.method, Err: fmt.Errorf("call id %d is in use or the connection ended: %w", req.id, redoubt.ErrInvalid)}
	}
	sc.calls++
	sc.bytes += len(req.body)
	sc.cancels[req.id] = cancel
	sc.mu.Unlock()
	sc.s.wg.Add(1)
	go func() {
		defer sc.s.wg.Done()
		sc.run(ctx, req)
		cancel()
	}()
	return nil
}

// callContext returns the context of one call; 0 is no time limit.
func (sc *serverConn) callContext(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return context.WithCancel(sc.ctx)
	}
	return context.WithTimeout(sc.ctx, timeout)
}

func (sc *serverConn) run(ctx context.Context, req request) {
	size := len(req.body)
	out, err := sc.call(ctx, req)
	defer out.Free()
	if err == nil && len(out.Data) > MaxBody {
		err = &redoubt.Error{Op: "answer", Object: req.method, Err: fmt.Errorf("%d bytes are too many: %w", len(out.Data), redoubt.ErrInvalid)}
	}
	// The id is free again before the answer tells the caller so.
	sc.mu.Lock()
	delete(sc.cancels, req.id)
	sc.calls--
	sc.bytes -= size
	sc.room.Signal()
	sc.mu.Unlock()
	if err != nil {
		_, err = sc.w.write(sc.ctx, frameError, idFrame(req.id), errorBody(err))
	} else {
		_, err = sc.w.write(sc.ctx, frameAnswer, idFrame(req.id), out.Data)
	}
	if err != nil {
		sc.s.log.Debug("answer lost", "method", req.method, "peer", sc.peer.String(), "err", err)
	}
}

func (sc *serverConn) call(ctx context.Context, req request) (slab.Part, error) {
	h := sc.s.handler(req.method)
	if h.h == nil {
		return slab.Part{}, &redoubt.Error{Op: "call", Object: req.method, Err: redoubt.ErrNotFound, Hint: "the peer does not know this method; is it of another version?"}
	}
	if h.borrowed {
		defer slab.Put(req.frame)
	}
	return h.h(ctx, sc.peer, req.body)
}
