package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// ServerOptions configure NewServer.
type ServerOptions struct {
	Service   adminv1connect.AdminServiceHandler
	Authorise AuthoriseFunc // nil: Authorise
	Logger    *slog.Logger
}

// Server serves the admin service on any number of listeners, of ListenUnix and
// of netmux.Mux.Listener(netmux.ProtoAdmin), as HTTP/1.1 and HTTP/2 on each. Its methods may be called concurrently.
type Server struct {
	http *http.Server
	o    ServerOptions
}

// NewServer returns a server that serves nothing yet.
//
// On a unix socket there is no ALPN: HTTP/2 is recognised by its preface there.
func NewServer(o ServerOptions) *Server {
	s := &Server{o: o}
	protos := new(http.Protocols)
	protos.SetHTTP1(true)
	protos.SetHTTP2(true)
	protos.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:           requirePeer(NewHandler(o.Service, o.Authorise, o.Logger)),
		Protocols:         protos,
		ConnContext:       s.connContext,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve serves l until Shutdown or Close, and returns nil then.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return &redoubt.Error{Op: "serve admin", Object: l.Addr().String(), Err: err}
}

// Shutdown closes the listeners, waits for calls in flight until ctx is done,
// and then cuts them.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// connContext cannot refuse a connection; requirePeer refuses its requests.
func (s *Server) connContext(ctx context.Context, c net.Conn) context.Context {
	p, err := identify(c)
	if err != nil {
		s.o.Logger.Warn("admin connection refused", "peer", c.RemoteAddr().String(), "error", err)
		return ctx
	}
	return WithPeer(ctx, p)
}

// identify returns who is at the other end: by the kernel on a unix socket, by
// the verified client certificate of a connection of package netmux.
func identify(c net.Conn) (Peer, error) {
	switch c := c.(type) {
	case *net.UnixConn:
		return unixPeer(c)
	case *tls.Conn:
		id, err := pki.PeerIdentity(c.ConnectionState())
		return Peer{Role: id.Role, Name: id.Name}, err
	}
	return Peer{}, &redoubt.Error{Op: "identify", Object: c.RemoteAddr().String(), Err: redoubt.ErrDenied}
}

func requirePeer(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := PeerFrom(r.Context()); !ok {
			w.Header().Set("Connection", "close")
			http.Error(w, "no acceptable identity", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}
