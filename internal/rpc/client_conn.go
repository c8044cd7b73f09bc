package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

const (
	pingEvery  = time.Second
	peerSilent = 5 * time.Second // without a frame while calls wait, the peer is gone
)

func errorBody(err error) []byte { return wire.EncodeError(err) }

type answer struct {
	body slab.Part
	err  error
}

// clientConn is one connection at the calling side.
type clientConn struct {
	addr string
	conn net.Conn
	w    *frameWriter
	done chan struct{} // closed when failed

	mu      sync.Mutex
	err     error
	next    uint64
	waiting map[uint64]chan answer
	heard   time.Time // of the last frame, or of the first call after idleness
}

func newClientConn(c net.Conn, addr string) *clientConn {
	w := newFrameWriter(c)
	w.lock() // until the preface is out
	return &clientConn{addr: addr, conn: c, w: w, done: make(chan struct{}), waiting: map[uint64]chan answer{}}
}

// run reads answers until the connection fails.
func (c *clientConn) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); c.ping() }()
	c.fail(c.read())
	wg.Wait()
}

func (c *clientConn) read() error {
	_ = c.conn.SetDeadline(time.Now().Add(prefaceWithin))
	err := wire.WritePreface(c.conn, tag())
	if err != nil {
		c.conn.Close()
	}
	c.w.unlock()
	if err != nil {
		return err
	}
	if err := wire.ReadPreface(c.conn, tag()); err != nil {
		return err
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	r := wire.Reader{R: progress{c}, Max: maxFrame, Take: slab.Get}
	for {
		typ, body, err := r.Next()
		if err != nil {
			return err
		}
		id, rest, err := splitID(body)
		if err != nil {
			return err
		}
		switch typ {
		case framePong:
		case frameAnswer:
			c.deliver(id, answer{body: slab.PartOf(rest, body)})
		case frameError:
			c.deliver(id, answer{err: wire.DecodeError("call", c.addr, rest)})
		default:
			return &redoubt.Error{Op: "read frame", Object: c.addr, Err: fmt.Errorf("unexpected type %d: %w", typ, redoubt.ErrCorrupt)}
		}
	}
}

// progress notes that the peer is alive with every piece that arrives, so that
// a large answer over a slow link does not look like silence.
type progress struct{ c *clientConn }

// Read implements io.Reader.
func (p progress) Read(b []byte) (int, error) {
	n, err := p.c.conn.Read(b)
	if n > 0 {
		p.c.mu.Lock()
		p.c.heard = time.Now()
		p.c.mu.Unlock()
	}
	return n, err
}

func (c *clientConn) deliver(id uint64, a answer) {
	c.mu.Lock()
	ch := c.waiting[id]
	delete(c.waiting, id)
	c.mu.Unlock()
	if ch != nil { // nil: given up by its caller
		ch <- a
	}
}

// fail ends the connection and all its calls; the first error counts.
func (c *clientConn) fail(err error) {
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = &redoubt.Error{Op: "call", Object: c.addr, Err: fmt.Errorf("connection lost: %w: %w", redoubt.ErrUnavailable, err)}
	close(c.done)
	for id, ch := range c.waiting {
		ch <- answer{err: c.err}
		delete(c.waiting, id)
	}
}

// ping asks for a sign of life while calls wait.
func (c *clientConn) ping() {
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		c.mu.Lock()
		busy, silent := len(c.waiting) > 0, time.Since(c.heard)
		c.mu.Unlock()
		if !busy || silent < pingEvery {
			continue
		}
		if silent > peerSilent {
			c.fail(fmt.Errorf("no sign of life for %s", silent.Round(time.Second)))
			return
		}
		// If a frame is being written now, that one will tell.
		ctx, cancel := context.WithTimeout(context.Background(), pingEvery/2)
		_, _ = c.w.write(ctx, framePing, idFrame(0))
		cancel()
	}
}

func (c *clientConn) call(ctx context.Context, method string, body [][]byte) (slab.Part, error) {
	var timeout time.Duration
	if d, ok := ctx.Deadline(); ok {
		if timeout = time.Until(d); timeout <= 0 {
			return slab.Part{}, &redoubt.Error{Op: "call " + method + " at", Object: c.addr, Err: context.DeadlineExceeded}
		}
	}
	ch := make(chan answer, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return slab.Part{}, c.err
	}
	c.next++
	id := c.next
	if len(c.waiting) == 0 {
		c.heard = time.Now()
	}
	c.waiting[id] = ch
	c.mu.Unlock()

	sent, err := c.w.write(ctx, frameRequest, append([][]byte{requestHead(id, timeout, method)}, body...)...)
	if err != nil && sent {
		c.fail(err)
	}
	if err != nil && !sent {
		c.giveUp(id)
		return slab.Part{}, &redoubt.Error{Op: "call " + method + " at", Object: c.addr, Err: err}
	}
	select {
	case a := <-ch:
		return a.body, a.err
	case <-ctx.Done():
	}
	if c.giveUp(id) {
		cctx, cancel := context.WithTimeout(context.Background(), pingEvery/2)
		_, _ = c.w.write(cctx, frameCancel, idFrame(id))
		cancel()
	} else {
		// The answer has come at the same moment.
		a := <-ch
		return a.body, a.err
	}
	err = ctx.Err()
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return slab.Part{}, &redoubt.Error{Op: "call " + method + " at", Object: c.addr, Err: err}
}

// giveUp forgets a call; it reports false if an answer is on its way to it.
func (c *clientConn) giveUp(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.waiting[id]
	delete(c.waiting, id)
	return ok
}
