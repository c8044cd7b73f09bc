package admin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
)

// ServerOptions configure NewServer.
type ServerOptions struct {
	Service   adminv1connect.AdminServiceHandler
	Authorise AuthoriseFunc // nil: Authorise
	Logger    *slog.Logger

	// Identify returns who is at the other end of a connection that is not a
	// unix socket: the identity of its verified client certificate. A
	// connection that it refuses is closed. Nil refuses all of them.
	Identify func(net.Conn) (Peer, error)
}

// Server serves the admin service on any number of listeners, as HTTP/1.1 and
// as HTTP/2 on each. Its methods may be called concurrently.
type Server struct {
	http *http.Server
	o    ServerOptions
}

// NewServer returns a server that serves nothing yet.
//
// The listener of the TLS port hands over connections whose handshake is done,
// in a wrapper of its own, so net/http sees no TLS: HTTP/2 is recognised by
// its preface instead of by ALPN.
func NewServer(o ServerOptions) *Server {
	s := &Server{o: o}
	protos := new(http.Protocols)
	protos.SetHTTP1(true)
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
	p, err := s.identify(c)
	if err != nil {
		s.o.Logger.Warn("admin connection refused", "peer", c.RemoteAddr().String(), "error", err)
		return ctx
	}
	return WithPeer(ctx, p)
}

func (s *Server) identify(c net.Conn) (Peer, error) {
	if u, ok := c.(*net.UnixConn); ok {
		return unixPeer(u)
	}
	if s.o.Identify == nil {
		return Peer{}, redoubt.ErrDenied
	}
	return s.o.Identify(c)
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
