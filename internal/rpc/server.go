package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Handler answers one call. ctx ends at the caller's deadline, at its cancel and
// when the connection is lost. It may keep body. It runs in a goroutine of its own.
type Handler func(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error)

// Bounds of one connection: when they are reached, its next requests wait unread.
const (
	maxCalls      = 1024
	maxCallBytes  = 256 << 20
	prefaceWithin = 10 * time.Second
)

// Server answers calls. Its methods may be called concurrently.
type Server struct {
	log *slog.Logger
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	handlers map[string]Handler
	conns    map[net.Conn]struct{}
	ls       map[net.Listener]struct{}
}

// NewServer returns a server without methods.
func NewServer(log *slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	return &Server{log: log, ctx: ctx, end: end, handlers: map[string]Handler{}, conns: map[net.Conn]struct{}{}, ls: map[net.Listener]struct{}{}}
}

// Handle registers the handler of method, at any time; a later one replaces an
// earlier one. It panics if method has no name or more than 64 bytes.
func (s *Server) Handle(method string, h Handler) {
	if method == "" || len(method) > maxMethod {
		panic("rpc: bad method name " + method)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handlers[method] = h
}

// Serve accepts until l or the server is closed, then returns nil. Connections
// must have Identity() pki.Identity, as netmux.Conn has.
func (s *Server) Serve(l net.Listener) error {
	if !s.addListener(l) {
		l.Close()
		return &redoubt.Error{Op: "serve calls", Err: redoubt.ErrClosed}
	}
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return &redoubt.Error{Op: "accept calls", Err: err}
		}
		id, ok := c.(interface{ Identity() pki.Identity })
		if !ok {
			c.Close()
			return &redoubt.Error{Op: "accept calls", Err: fmt.Errorf("connection of type %T has no identity: %w", c, redoubt.ErrInvalid)}
		}
		if !s.addConn(c) {
			c.Close()
			return nil
		}
		go s.serveConn(c, id.Identity())
	}
}

// Close closes listeners and connections, cancels running handlers and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.end()
	for l := range s.ls {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.ls[l] = struct{}{}
	}
	return !s.closed
}

func (s *Server) addConn(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
		s.wg.Add(1)
	}
	return !s.closed
}

func (s *Server) handler(method string) Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handlers[method]
}

func (s *Server) serveConn(c net.Conn, peer pki.Identity) {
	defer s.wg.Done()
	sc := &serverConn{s: s, peer: peer, w: newFrameWriter(c), cancels: map[uint64]context.CancelFunc{}}
	sc.room = sync.NewCond(&sc.mu)
	var cancel context.CancelFunc
	sc.ctx, cancel = context.WithCancel(s.ctx)
	// A reader that waits for room must notice the end, too.
	stop := context.AfterFunc(sc.ctx, func() { c.Close(); sc.mu.Lock(); sc.room.Broadcast(); sc.mu.Unlock() })
	err := sc.read(c)
	cancel()
	stop()
	c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if !errors.Is(err, net.ErrClosed) {
		s.log.Debug("call connection ended", "peer", peer.String(), "err", err)
	}
}

// read serves the connection until it ends, and says why it did.
func (sc *serverConn) read(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(prefaceWithin))
	if err := wire.WritePreface(c, tag()); err != nil {
		return err
	}
	if err := wire.ReadPreface(c, tag()); err != nil {
		return err
	}
	_ = c.SetDeadline(time.Time{})
	r := wire.Reader{R: c, Max: maxFrame}
	for {
		typ, body, err := r.Next()
		if err != nil {
			return err
		}
		if err := sc.frame(typ, body); err != nil {
			return err
		}
	}
}
