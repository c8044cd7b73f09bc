package netmux

import (
	"net"
	"slices"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// listener hands the accepted connections of one protocol to its server.
type listener struct {
	addr  net.Addr
	roles []pki.Role // who may connect; empty means any role
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newListener(addr net.Addr, roles []pki.Role) *listener {
	return &listener{addr: addr, roles: roles, conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements net.Listener. After Close it returns net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The port stays open for other protocols.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// allows returns nil if the peer's role may use proto.
func (l *listener) allows(peer pki.Identity, proto string) error {
	if len(l.roles) == 0 || slices.Contains(l.roles, peer.Role) {
		return nil
	}
	return &redoubt.Error{Op: "open " + proto, Object: peer.String(), Err: redoubt.ErrDenied,
		Hint: "certificates of role " + string(peer.Role) + " may not use this protocol"}
}

// deliver waits until the server takes c; it reports false if it never will.
func (l *listener) deliver(c net.Conn, closing <-chan struct{}) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.done:
	case <-closing:
	}
	return false
}
