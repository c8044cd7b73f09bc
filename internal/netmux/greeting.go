package netmux

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// In TLS 1.3 a client's handshake ends before the server has looked at its
// certificate. So the acceptor of a redoubt-* protocol sends one frame first:
// welcome, or the reason why not. Dial returns only after it.
const (
	greetOK      uint8 = 1
	greetRefused uint8 = 2
	maxGreeting        = 16 << 10
)

func sendGreeting(c net.Conn, refusal error) error {
	if refusal != nil {
		return wire.WriteFrame(c, greetRefused, wire.EncodeError(refusal))
	}
	return wire.WriteFrame(c, greetOK)
}

func readGreeting(c net.Conn, addr string) error {
	r := wire.Reader{R: c, Max: maxGreeting}
	typ, body, err := r.Next()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return &redoubt.Error{Op: "connect to", Object: addr, Err: fmt.Errorf("closed by the peer before it said anything: %w", redoubt.ErrUnavailable)}
	case err != nil:
		return pki.Explain(err)
	case typ == greetOK:
		return nil
	case typ == greetRefused:
		return wire.DecodeError("connect to", addr, body)
	}
	return &redoubt.Error{Op: "connect to", Object: addr, Err: fmt.Errorf("greeting of type %d: %w", typ, redoubt.ErrCorrupt)}
}
