package export

import (
	"context"
	"fmt"
	"net"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

type dialer func(ctx context.Context, addr string) (net.Conn, error)

// to returns a dialer that takes a connection to peer only: an address may come
// to another host, and any source has a certificate that fits.
func (dial dialer) to(peer pki.Identity) dialer {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		is, ok := c.(interface{ Identity() pki.Identity })
		if ok && is.Identity() == peer {
			return c, nil
		}
		_ = c.Close()
		who := "nobody who says who it is"
		if ok {
			who = is.Identity().String()
		}
		return nil, &redoubt.Error{Op: "connect to", Object: addr, Err: fmt.Errorf("%s is there, not %s: %w", who, peer, redoubt.ErrDenied),
			Hint: "check advertise in the configuration of both hosts, and what the name leads to"}
	}
}

// source is who the old primary of the group must prove to be.
func (p *production) source() pki.Identity {
	g, _ := p.m.o.Node.Catalog().Group(p.Group)
	return pki.Identity{Role: pki.RoleSource, Name: g.Source}
}

// dialSource connects to the old primary's shipping port.
func (p *production) dialSource(ctx context.Context, addr string) (net.Conn, error) {
	return dialer(p.m.o.DialSource).to(p.source())(ctx, addr)
}

// dialCompare connects to the old primary to compare hashes with it.
func (p *production) dialCompare(ctx context.Context, addr string) (net.Conn, error) {
	return dialer(p.m.o.DialCompare).to(p.source())(ctx, addr)
}
