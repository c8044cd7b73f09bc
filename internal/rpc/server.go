package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/slab"
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
	wg  sync.WaitGroup // of handlers

	acceptor netmux.Acceptor

	mu       sync.Mutex
	handlers map[string]handling
}

// Lender is a Handler whose answer lies in recycled memory, which is given back
// when the answer is sent.
type Lender func(ctx context.Context, peer pki.Identity, body []byte) (slab.Part, error)

// handling is a handler and whether it only borrows the body.
type handling struct {
	h        Lender
	borrowed bool
}

func (h Handler) lend(ctx context.Context, peer pki.Identity, body []byte) (slab.Part, error) {
	b, err := h(ctx, peer, body)
	return slab.Part{Data: b}, err
}

// NewServer returns a server without methods.
func NewServer(log *slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	return &Server{log: log, ctx: ctx, end: end, handlers: map[string]handling{}}
}

// Handle registers the handler of method, at any time; a later one replaces an
// earlier one. It panics if method has no name or more than 64 bytes.
func (s *Server) Handle(method string, h Handler) { s.handle(method, handling{h: h.lend}) }

// HandleBorrowed is Handle for a handler that does not keep body, nor a part of
// it, after it has returned: the memory is used again.
func (s *Server) HandleBorrowed(method string, h Handler) { s.handle(method, handling{h.lend, true}) }

// HandleLent is Handle for a handler that lends its answer.
func (s *Server) HandleLent(method string, h Lender) { s.handle(method, handling{h: h}) }

func (s *Server) handle(method string, h handling) {
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
	return s.acceptor.Serve("accept calls", l, s.serveConn)
}

// Close closes listeners and connections, cancels running handlers and waits for them.
func (s *Server) Close() error {
	s.acceptor.Close()
	s.end()
	s.acceptor.Wait()
	s.wg.Wait()
	return nil
}

func (s *Server) handler(method string) handling {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handlers[method]
}

func (s *Server) serveConn(c net.Conn, peer pki.Identity) {
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
	r := wire.Reader{R: c, Max: maxFrame, Take: slab.Get}
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
