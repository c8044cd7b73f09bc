package metrics

import (
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// MaxConns is how many connections are served at once; more wait unaccepted.
// Where metrics are served over TCP every user of the host reaches them.
const MaxConns = 64

// The times after which a connection that does not go on is closed. The write
// timeout bounds the longest profile.
const (
	headTimeout  = 10 * time.Second
	idleTimeout  = time.Minute
	writeTimeout = 2 * time.Minute
)

// Server serves Handler to a bounded number of connections.
type Server struct{ http *http.Server }

// NewServer returns a server that serves nothing yet.
func NewServer(s Status) *Server {
	return &Server{&http.Server{Handler: Handler(s), ReadTimeout: headTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout}}
}

// Serve serves l, which it owns, until Close, and returns nil then.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(netutil.LimitListener(l, MaxConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes the listener and all connections.
func (s *Server) Close() error { return s.http.Close() }
