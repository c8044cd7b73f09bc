package netmux

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Acceptor accepts connections for one purpose, from any number of listeners,
// and knows which of them are still being served. The zero value is ready; its
// methods may be called concurrently.
type Acceptor struct {
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
	ls     map[net.Listener]struct{}
}

// Serve calls serve for each connection of l, in a goroutine of its own, until
// l or the acceptor is closed, and returns nil then. serve closes the
// connection. Connections must have Identity() pki.Identity, as Conn has. op
// says in errors what is accepted.
func (a *Acceptor) Serve(op string, l net.Listener, serve func(net.Conn, pki.Identity)) error {
	if !a.add(l) {
		_ = l.Close()
		return &redoubt.Error{Op: op, Err: redoubt.ErrClosed}
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return &redoubt.Error{Op: op, Err: err}
		}
		id, ok := c.(interface{ Identity() pki.Identity })
		if !ok {
			_ = c.Close()
			return &redoubt.Error{Op: op, Err: fmt.Errorf("connection of type %T has no identity: %w", c, redoubt.ErrInvalid)}
		}
		if !a.begin() {
			_ = c.Close()
			return nil
		}
		go func() {
			defer a.wg.Done()
			serve(c, id.Identity())
		}()
	}
}

// Close closes the listeners. Connections go on: whoever serves them ends them.
func (a *Acceptor) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for l := range a.ls {
		_ = l.Close()
	}
}

// Wait returns, after Close, when no connection is served any more.
func (a *Acceptor) Wait() { a.wg.Wait() }

func (a *Acceptor) add(l net.Listener) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	if a.ls == nil {
		a.ls = map[net.Listener]struct{}{}
	}
	a.ls[l] = struct{}{}
	return true
}

func (a *Acceptor) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.wg.Add(1)
	}
	return !a.closed
}
