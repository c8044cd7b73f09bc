package metrics

import (
	"errors"
	"net"
	"net/http"
)

// Server serves Handler to a bounded number of connections.
type Server struct{ http *http.Server }

// NewServer returns a server that serves nothing yet.
func NewServer(s Status) *Server {
	return &Server{&http.Server{Handler: Handler(s), ReadTimeout: headTimeout, IdleTimeout: idleTimeout, WriteTimeout: writeTimeout}}
}

// Serve serves l, which it owns, until Close, and returns nil then.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(limit(l, MaxConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close closes the listener and all connections.
func (s *Server) Close() error { return s.http.Close() }
