package netmux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// dialTimeout bounds connecting, handshake and greeting together; a shorter
// deadline of the context wins.
const dialTimeout = 5 * time.Second

// Dial connects to a node's port for a redoubt-* protocol and returns after the
// node has accepted us. The node must have one of wantRoles (any, if empty).
// The result is a *Conn. Errors are redoubt.ErrUnavailable when the node cannot
// be reached and redoubt.ErrDenied when certificates or roles do not fit.
func Dial(ctx context.Context, addr, proto string, cred *pki.Credentials, wantRoles ...pki.Role) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	fail := func(err error) error {
		var e *redoubt.Error
		if errors.As(err, &e) {
			return &redoubt.Error{Op: "connect to", Object: addr, Err: err}
		}
		return &redoubt.Error{Op: "connect to", Object: addr, Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err)}
	}
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fail(err)
	}
	tune(raw)
	// The greeting is read without a context; this carries the deadline and a cancel over to it.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	below := newBatch(raw, raw)
	tc := tls.Client(below, cred.ClientTLS(proto, wantRoles...))
	if err := tc.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, fail(pki.Explain(err))
	}
	peer, err := pki.PeerIdentity(tc.ConnectionState())
	if err == nil {
		err = readGreeting(tc, addr)
	}
	if err == nil && !stop() {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			err = ctx.Err()
		}
		return nil, fail(err)
	}
	return &Conn{Conn: tc, peer: peer, proto: proto, below: below}, nil
}
