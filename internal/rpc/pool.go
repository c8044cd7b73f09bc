package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// Dialer opens a connection to the node at addr, such as netmux.Dial with
// netmux.ProtoPeer.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// bulk is the body size in bytes from which a call takes the second connection
// of its peer, so that a small call does not wait behind shards.
const bulk = 32 << 10

type key struct {
	addr string
	bulk bool
}

// Pool keeps up to two connections for each address and calls over them. Its
// methods may be called concurrently.
type Pool struct {
	dial Dialer
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[key]*entry
}

// entry is a connection that is there or being made; ready is closed after.
type entry struct {
	ready chan struct{}
	conn  *clientConn
	err   error
}

// NewPool returns an empty pool; it connects when first called.
func NewPool(d Dialer) *Pool {
	ctx, end := context.WithCancel(context.Background())
	return &Pool{dial: d, ctx: ctx, end: end, conns: map[key]*entry{}}
}

// Call sends the concatenation of body to method at addr and returns the
// answer. It does not keep body. Without a connection, or when it is lost before
// the answer came, the error is redoubt.ErrUnavailable: then the peer may or may
// not have done it. An error of the handler is a redoubt.Error on which
// errors.Is works as it did there. It never tries twice.
func (p *Pool) Call(ctx context.Context, addr, method string, body ...[]byte) ([]byte, error) {
	a, err := p.CallPart(ctx, addr, method, body...)
	return a.Data, err
}

// CallPart is Call with the answer in recycled memory, which the caller frees.
func (p *Pool) CallPart(ctx context.Context, addr, method string, body ...[]byte) (slab.Part, error) {
	size := 0
	for _, b := range body {
		size += len(b)
	}
	if method == "" || len(method) > maxMethod || size > MaxBody {
		return slab.Part{}, &redoubt.Error{Op: "call", Object: method, Err: fmt.Errorf("body of %d bytes: %w", size, redoubt.ErrInvalid)}
	}
	c, err := p.conn(ctx, key{addr, size >= bulk})
	if err != nil {
		return slab.Part{}, err
	}
	return c.call(ctx, method, body)
}

// Close closes all connections; running calls fail with redoubt.ErrUnavailable.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.end()
	all := p.conns
	p.conns = map[key]*entry{}
	p.mu.Unlock()
	for _, e := range all {
		<-e.ready
		if e.conn != nil {
			e.conn.fail(&redoubt.Error{Op: "call", Object: e.conn.addr, Err: redoubt.ErrClosed})
		}
	}
	p.wg.Wait()
	return nil
}

func (p *Pool) conn(ctx context.Context, k key) (*clientConn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &redoubt.Error{Op: "call", Object: k.addr, Err: redoubt.ErrClosed}
	}
	e := p.conns[k]
	if e == nil {
		e = &entry{ready: make(chan struct{})}
		p.conns[k] = e
		p.wg.Add(1)
		// Connecting outlives the first caller's deadline, others wait for it too.
		go p.connect(k, e)
	}
	p.mu.Unlock()
	select {
	case <-e.ready:
		return e.conn, e.err
	case <-ctx.Done():
		return nil, &redoubt.Error{Op: "call", Object: k.addr, Err: fmt.Errorf("still connecting: %w: %w", redoubt.ErrUnavailable, ctx.Err())}
	}
}

func (p *Pool) connect(k key, e *entry) {
	defer p.wg.Done()
	c, err := p.dial(p.ctx, k.addr)
	if err == nil {
		e.conn = newClientConn(c, k.addr)
		p.wg.Add(1)
		go func() {
			defer p.wg.Done()
			e.conn.run(p.ctx)
			p.forget(k, e)
		}()
	} else {
		e.err = err
		p.forget(k, e)
	}
	close(e.ready)
}

// forget makes the next call connect anew.
func (p *Pool) forget(k key, e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[k] == e {
		delete(p.conns, k)
	}
}
