package source

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// serve begins to export the disks on the group's unix socket, and over TCP if
// that is wanted: with TLS to the group's clients, or plain on the loopback.
func (g *Group) serve() error {
	g.server = blockdev.NewServer(blockdev.ServerOptions{Logger: g.log, ReadMemory: g.cfg.ReadMemory})
	for _, v := range g.disks.Volumes() {
		if err := g.server.Add(g.export(v)); err != nil {
			return err
		}
	}
	g.socket = filepath.Join(g.host.RunDir, string(g.cfg.Name)+".sock")
	l, err := g.host.Sockets.Listen("unix:"+g.socket, func() (net.Listener, error) { return blockdev.ListenUnix(g.socket) })
	if err != nil {
		return err
	}
	go g.accept(l, g.server.Serve)
	switch {
	case len(g.cfg.Clients) > 0:
		return g.serveTLS()
	case g.cfg.Listen != "":
		return g.servePlain()
	}
	return nil
}

func (g *Group) export(v *blockdev.Volume) blockdev.Export {
	return blockdev.Export{Name: v.Disk().Name, Volume: v, Description: "protection group " + string(g.cfg.Name)}
}

func (g *Group) accept(l net.Listener, serve func(net.Listener) error) {
	if err := serve(l); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, redoubt.ErrClosed) {
		g.log.Error("the NBD server stopped", "address", l.Addr().String(), "err", err)
	}
}

// servePlain serves TCP on an address of this host alone: NBD without TLS must
// not leave it.
func (g *Group) servePlain() error {
	host, _, err := net.SplitHostPort(g.cfg.Listen)
	ip := net.ParseIP(host)
	if err != nil || ip == nil || !ip.IsLoopback() {
		return &redoubt.Error{Op: "serve NBD on", Object: g.cfg.Listen, Err: redoubt.ErrInvalid,
			Hint: "plain NBD over TCP is served on loopback addresses only, such as 127.0.0.1:10809; list clients to serve others with TLS"}
	}
	l, err := g.listenTCP()
	if err != nil {
		return err
	}
	go g.accept(l, g.server.Serve)
	return nil
}

// serveTLS serves TCP to the group's clients and nobody else.
func (g *Group) serveTLS() error {
	if g.host.Credentials == nil || g.cfg.Listen == "" {
		return &redoubt.Error{Op: "serve NBD with TLS", Object: string(g.cfg.Name), Err: redoubt.ErrInvalid, Hint: "clients need an address to listen on and the host's certificate"}
	}
	l, err := g.listenTCP()
	if err != nil {
		return err
	}
	sec := blockdev.Security{Config: g.host.Credentials.ServerTLS(), Authorise: func(s tls.ConnectionState, export string) error {
		return mayUse(s, g.cfg.Clients, export)
	}}
	go g.accept(l, func(l net.Listener) error { return g.server.ServeTLS(l, sec) })
	return nil
}

func (g *Group) listenTCP() (net.Listener, error) {
	l, err := g.host.Sockets.Listen("tcp:"+g.cfg.Listen, func() (net.Listener, error) { return net.Listen("tcp", g.cfg.Listen) })
	if err != nil {
		return nil, &redoubt.Error{Op: "serve NBD on", Object: g.cfg.Listen, Err: err, Hint: "is another program, or another group, using the port?"}
	}
	g.listening = l.Addr()
	return l, nil
}

// mayUse returns nil if the peer holds a certificate of the role client whose
// name is in the list. No other role will do: an operator's certificate opens
// the admin RPC, not the content of disks, and a source's opens neither.
func mayUse(s tls.ConnectionState, clients []string, export string) error {
	id, err := pki.PeerIdentity(s)
	if err != nil {
		return err
	}
	if id.Role == pki.RoleClient && slices.Contains(clients, id.Name) {
		return nil
	}
	hint := "add " + id.Name + " to nbd.clients of the group in redoubtd.yaml"
	if id.Role != pki.RoleClient {
		hint = "use a certificate of the role client: redoubt ca issue --role client --name NAME"
	}
	return &redoubt.Error{Op: "use export", Object: export, Hint: hint, Err: fmt.Errorf("it is not for %s: %w", id, redoubt.ErrDenied)}
}
