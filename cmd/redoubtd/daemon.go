package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	"github.com/redoubt-dr/redoubt/cmd/redoubtd/service"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/handover"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/ship"
)

// shutdownTimeout bounds the wait for admin calls in flight.
const shutdownTimeout = 5 * time.Second

// node is what both roles share: who this daemon is and its one port.
type node struct {
	cfg     *config.Config
	cred    *pki.Credentials
	mux     *netmux.Mux
	log     *slog.Logger
	started time.Time
	fatal   chan error // an error that ends the daemon
	sockets *handover.Sockets
	next    *handover.State // not nil: this life ends so that another one goes on
}

// serve runs the daemon, with what an earlier life left for it, until it is told
// to end or something that it cannot go on without has failed. It returns what
// the next life goes on with, or nil if there shall be none.
func serve(l *life, cfg *config.Config, log *slog.Logger, in *handover.Inherited) (*handover.State, error) {
	n := &node{cfg: cfg, log: log, started: time.Now(), fatal: make(chan error, 1), sockets: handover.NewSockets(in.Listeners)}
	err := n.run(l, in)
	if n.next == nil {
		n.sockets.Close()
		return nil, err
	}
	n.next.Listeners = n.sockets.Hand()
	return n.next, err
}

func (n *node) run(l *life, in *handover.Inherited) (err error) {
	cfg, log := n.cfg, n.log
	if n.cred, err = loadIdentity(cfg); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(l.end)
	defer stop()
	go followCertificate(ctx, n.cred, log)
	if err := errors.Join(vfs.MakeDir(vfs.OS, cfg.DataDir, 1), os.MkdirAll(cfg.RunDir, 0o700)); err != nil {
		return err
	}
	port, err := n.sockets.Listen("tcp:"+cfg.Listen, func() (net.Listener, error) { return netmux.ListenTCP(cfg.Listen) })
	if err != nil {
		return err
	}
	n.mux = netmux.Serve(port, n.cred, log, netmux.Limits{})
	var undo cleanup
	defer func() { err = errors.Join(err, undo.run()) }()
	undo.add(n.mux.Close)

	sinks, compared := &sinks{}, &compared{}
	// The source opens first and closes last: its clients wait for nothing else.
	var src *sourceRole
	if cfg.Source != nil {
		if src, err = openSource(n); err != nil {
			return err
		}
		undo.add(src.close)
		sinks.reverse, compared.disks = src.host, src.host.Comparisons()
	}
	n.takeOver(src, in)
	var tgt *targetRole
	if cfg.Target != nil {
		if tgt, err = openTarget(n); err != nil {
			return err
		}
		undo.add(tgt.close)
		sinks.forward, compared.store = tgt.store.Sink(), tgt.store.Comparisons()
	}
	svc := newService(n, src, tgt)
	undo.add(svc.Close)
	if src != nil {
		src.start()
	}
	undo.add(serveShipping(n, sinks))
	undo.add(serveComparisons(n, compared))
	stopAdmin, err := serveAdmin(n, svc)
	if err != nil {
		return err
	}
	undo.add(stopAdmin)
	stopMetrics, err := serveMetrics(n, svc)
	if err != nil {
		return err
	}
	undo.add(stopMetrics)
	n.sockets.CloseRest(log)

	log.Info("redoubtd is ready", "name", cfg.Name, "roles", cfg.Roles(), "listen", n.mux.Addr().String())
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that the daemon is ready", "err", err)
	}
	return n.wait(l)
}

// loadIdentity reads this node's certificate and checks that it is for it.
func loadIdentity(cfg *config.Config) (*pki.Credentials, error) {
	cred, err := pki.Load(cfg.Identity)
	if err != nil {
		return nil, err
	}
	return cred, checkIdentity(cfg, cred)
}

// checkCertificate is asked before a life gives its place to the next: one that
// runs keeps a valid certificate although its files are replaced by another.
func checkCertificate(cfg *config.Config, now time.Time) error {
	cred, err := loadIdentity(cfg)
	if err != nil {
		return err
	}
	return cred.Valid(now)
}

// checkIdentity refuses a certificate that was made for somebody else.
func checkIdentity(cfg *config.Config, cred *pki.Credentials) error {
	id := cred.Identity()
	want := pki.RoleSource
	if cfg.Target != nil {
		want = pki.RoleTarget
	}
	if id.Name != cfg.Name || id.Role != want {
		return &redoubt.Error{Op: "use certificate", Object: cfg.Identity, Err: redoubt.ErrDenied,
			Hint: "it is for " + id.String() + "; issue one with: redoubt ca issue --role " + string(want) + " --name " + cfg.Name}
	}
	return nil
}

// dial returns a dialer for a protocol of nodes of the given roles.
func (n *node) dial(proto string, roles ...pki.Role) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, proto, n.cred, roles...)
	}
}

// sinks sends a stream to the role that takes it.
type sinks struct {
	forward ship.Sink // nil without the role target
	reverse ship.Sink // nil without the role source
}

// Hello implements ship.Sink.
func (s *sinks) Hello(ctx context.Context, peer pki.Identity, h ship.Hello) (ship.Welcome, ship.Stream, error) {
	sink := s.forward
	if h.Reverse {
		sink = s.reverse
	}
	if sink == nil {
		return ship.Welcome{}, nil, &redoubt.Error{Op: "ship to this node", Object: string(h.Group), Err: redoubt.ErrState,
			Hint: "the node does not have the role for it; check the addresses in redoubtd.yaml"}
	}
	return sink.Hello(ctx, peer, h)
}

func serveShipping(n *node, s *sinks) (stop func() error) {
	r := ship.NewReceiver(ship.ReceiverOptions{Sink: s, Logger: n.log})
	l := n.mux.Listener(netmux.ProtoShip, pki.RoleSource, pki.RoleTarget)
	go n.report("shipping", func() error { return r.Serve(l) })
	return r.Close
}

// newService returns what answers the admin RPC for the roles that there are.
func newService(n *node, src *sourceRole, tgt *targetRole) *service.Service {
	var host service.Source
	if src != nil {
		host = src.host
	}
	var t *service.Target
	if tgt != nil {
		t = &service.Target{Node: tgt.node, Store: tgt.store, Exports: tgt.exports, Checker: tgt.checker}
	}
	s := service.New(service.Node{
		Name: n.cfg.Name, Roles: n.cfg.Roles(), Advertise: n.cfg.Advertise, Scripts: n.cfg.Scripts,
		Started: n.started, Credentials: n.cred, Logger: n.log,
	}, host, t)
	if tgt != nil {
		s.DrivePlans(3 * time.Duration(n.cfg.Target.OwnerTimeout))
	}
	return s
}

func serveAdmin(n *node, svc *service.Service) (stop func() error, err error) {
	path := n.cfg.AdminSocket()
	local, err := n.sockets.Listen("unix:"+path, func() (net.Listener, error) { return admin.ListenUnix(path) })
	if err != nil {
		return nil, err
	}
	srv := admin.NewServer(admin.ServerOptions{Service: svc, Logger: n.log})
	go n.report("admin", func() error { return srv.Serve(local) })
	remote := n.mux.Listener(netmux.ProtoAdmin)
	go n.report("admin", func() error { return srv.Serve(remote) })
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		return srv.Shutdown(ctx)
	}, nil
}

// report logs how a server ended, unless it was stopped.
func (n *node) report(what string, serve func() error) {
	if err := serve(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, redoubt.ErrClosed) {
		n.log.Error("a server stopped", "server", what, "err", err)
	}
}

// cleanup runs what was added, the last first.
type cleanup struct{ steps []func() error }

func (c *cleanup) add(f func() error) { c.steps = append(c.steps, f) }

func (c *cleanup) run() error {
	var err error
	for i := len(c.steps) - 1; i >= 0; i-- {
		err = errors.Join(err, c.steps[i]())
	}
	return err
}
