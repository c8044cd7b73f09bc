package blockdev

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Security is what a listener demands of its clients. TLS is forced: before
// STARTTLS nothing is answered but ABORT, and no name of an export is told.
type Security struct {
	// Config is used for every handshake as it is; it should demand a client
	// certificate (pki.Credentials.ServerTLS).
	Config *tls.Config
	// Authorise decides whether a client may list and use an export. Nil allows
	// every export to everybody with whom the handshake succeeds. It may be called
	// concurrently and should not wait.
	Authorise func(s tls.ConnectionState, export string) error
}

// tooEarly reports whether option id is refused until TLS is on.
func (c *conn) tooEarly(id uint32) bool {
	return c.sec != nil && c.tls == nil && id != optStartTLS && id != protocol.NEGOTIATION_ID_OPTION_ABORT
}

// mayStartTLS returns the reply's type for STARTTLS.
func (c *conn) mayStartTLS(data []byte) uint32 {
	switch {
	case c.sec == nil:
		return protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED
	case c.tls != nil || len(data) != 0:
		return repErrInvalid
	}
	return protocol.NEGOTIATION_TYPE_REPLY_ACK
}

// startTLS follows the acknowledgement of STARTTLS. Nothing that the client said
// in the clear is believed afterwards: options are read from the socket without
// a buffer, so what follows STARTTLS too early is taken for a TLS record and
// fails, and what was agreed is forgotten. The deadline of the handshake holds.
func (c *conn) startTLS() error {
	t := tls.Server(c.raw, c.sec.Config)
	if err := t.HandshakeContext(c.ctx); err != nil {
		return pki.Explain(err)
	}
	c.nc, c.tls = t, t
	c.structured, c.allocation, c.metaName = false, false, nil
	if id, err := pki.PeerIdentity(t.ConnectionState()); err == nil {
		c.log = c.log.With("client", id.String())
	}
	return nil
}

// authorise returns nil if the client may use the export of that name.
func (c *conn) authorise(name string) error {
	if c.sec == nil || c.sec.Authorise == nil {
		return nil
	}
	if c.tls == nil { // no option gets here before STARTTLS
		return &redoubt.Error{Op: "authorise", Object: name, Err: redoubt.ErrDenied}
	}
	err := c.sec.Authorise(c.tls.ConnectionState(), name)
	if err != nil && !errors.Is(err, redoubt.ErrDenied) {
		err = fmt.Errorf("%w: %w", redoubt.ErrDenied, err)
	}
	return err
}

// bye tells a TLS client that the end is not an attacker's doing.
func (c *conn) bye() {
	if c.tls != nil {
		_ = c.tls.CloseWrite() // the client may be gone already
	}
}
