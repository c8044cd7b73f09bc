package export

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

type knownConn struct {
	net.Conn
	id pki.Identity
}

func (c knownConn) Identity() pki.Identity { return c.id }

// The group's data goes to its own old primary, and to no other source that
// answers at its address.
func TestDialOnePeer(t *testing.T) {
	host1, host2 := pki.Identity{Role: pki.RoleSource, Name: "host1"}, pki.Identity{Role: pki.RoleSource, Name: "host2"}
	for _, c := range []struct {
		there func(net.Conn) net.Conn
		ok    bool
	}{
		{func(c net.Conn) net.Conn { return knownConn{c, host1} }, true},
		{func(c net.Conn) net.Conn { return knownConn{c, host2} }, false},
		{func(c net.Conn) net.Conn { return c }, false},
	} {
		mine, other := net.Pipe()
		dial := dialer(func(context.Context, string) (net.Conn, error) { return c.there(mine), nil }).to(host1)
		got, err := dial(context.Background(), "host1:7700")
		if (err == nil) != c.ok || err != nil && !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%T: %v", c.there(mine), err)
		}
		if err == nil {
			_ = got.Close()
		}
		if _, err := other.Read(make([]byte, 1)); err == nil {
			t.Error("the refused connection is open")
		}
	}
}
