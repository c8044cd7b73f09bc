package blockdev

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// nbdPort is the port that IANA keeps for NBD.
const nbdPort = "10809"

// SetURI says which export of which server is meant, by an address of the NBD
// URI specification (NetworkBlockDevice/nbd, doc/uri.md):
//
//	nbd://HOST[:PORT]/EXPORT
//	nbd+unix:///EXPORT?socket=PATH
//
// The kernel's client takes a plain socket and speaks no TLS, so nbds:// and
// nbds+unix:// are redoubt.ErrInvalid, as is everything else.
func (o *AttachOptions) SetURI(uri string) error {
	fail := func(err error, hint string) error {
		return &redoubt.Error{Op: "read NBD address", Object: uri, Err: err, Hint: hint}
	}
	const forms = "an address is nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH"
	u, err := url.Parse(uri)
	if err != nil {
		return fail(fmt.Errorf("%w: %w", redoubt.ErrInvalid, err), forms)
	}
	o.Export = strings.TrimPrefix(u.Path, "/")
	socket := u.Query().Get("socket")
	switch {
	case u.Scheme == "nbds" || u.Scheme == "nbds+unix":
		return fail(fmt.Errorf("the kernel's NBD client speaks no TLS: %w", redoubt.ErrInvalid),
			"attach it where the daemon runs, or use the address with nbdfuse or qemu, or through a tunnel to the daemon's loopback address")
	case u.Scheme == "nbd" && u.Hostname() != "" && socket == "":
		port := u.Port()
		if port == "" {
			port = nbdPort
		}
		address := net.JoinHostPort(u.Hostname(), port)
		o.Socket = ""
		o.Dial = func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "tcp", address) }
	case u.Scheme == "nbd+unix" && u.Host == "" && socket != "":
		o.Socket, o.Dial = socket, nil
	default:
		return fail(redoubt.ErrInvalid, forms)
	}
	return nil
}
