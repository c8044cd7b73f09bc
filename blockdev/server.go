package blockdev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/complaint"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

// Export is a volume that clients reach by name.
type Export struct {
	Name        string
	Volume      *Volume
	ReadOnly    bool
	Description string
}

// ServerOptions bounds what clients can do. The zero value is usable.
type ServerOptions struct {
	Logger *slog.Logger
	// HandshakeTimeout is the time from connecting to the first request. Default 10 s.
	HandshakeTimeout time.Duration
	// MaxConns is the number of connections served at a time. Default 256. One
	// may hold 3.5 MiB beside its share of ReadMemory.
	MaxConns int
	// MaxHandshakes is the number of handshakes at a time, for each listener. One
	// more ends the oldest. Default 2 * MaxConns, so that all clients can come
	// back at once. One may hold some 64 KiB.
	MaxHandshakes int
	// IdleAfter is the time without a request after which a connection gives its
	// memory back. Default 10 s.
	IdleAfter time.Duration
	// StallTimeout is how long a client may take no answer that is ready, or leave
	// a request half sent. Default 2 min, which is what a virtual machine that
	// is moved may need.
	StallTimeout time.Duration
	// SlowReads is how many reads of one connection may wait for the backing at
	// a time. Default 16.
	SlowReads int
	// SlowBytes bounds the bytes of these reads, at least MaxPayload, the default.
	SlowBytes int
	// ReadMemory bounds the bytes of the slow reads of all connections together.
	// Above it reads are answered in pieces, one at a time for each connection.
	// Default 256 MiB.
	ReadMemory int64
}

func (o *ServerOptions) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 10 * time.Second
	}
	if o.MaxConns <= 0 {
		o.MaxConns = 256
	}
	if o.MaxHandshakes <= 0 {
		o.MaxHandshakes = 2 * o.MaxConns
	}
	if o.IdleAfter <= 0 {
		o.IdleAfter = 10 * time.Second
	}
	if o.StallTimeout <= 0 {
		o.StallTimeout = 2 * time.Minute
	}
	if o.SlowReads <= 0 {
		o.SlowReads = 16
	}
	o.SlowBytes = max(o.SlowBytes, MaxPayload)
	if o.ReadMemory <= 0 {
		o.ReadMemory = 256 << 20
	}
}

// Server speaks NBD. Exports may be added and removed while it runs. All
// methods may be called concurrently.
type Server struct {
	o    ServerOptions
	log  *slog.Logger
	stop chan struct{} // closed by Close

	reads *budget

	strangers, clients complaint.Account // of connections in their handshake, and after it

	mu        sync.Mutex
	exports   map[string]Export
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	admitted  int // of conns
	watching  bool
	retiring  bool            // no more listeners
	handed    []handover.Conn // what Retire returns
	closed    bool
	accepting sync.WaitGroup // calls of Serve
	wg        sync.WaitGroup // connections and the watch
}

// NewServer returns a server without exports.
func NewServer(o ServerOptions) *Server {
	o.setDefaults()
	return &Server{o: o, log: o.Logger, stop: make(chan struct{}), reads: newBudget(o.ReadMemory), exports: make(map[string]Export),
		listeners: make(map[net.Listener]bool), conns: make(map[*conn]bool)}
}

// Add makes an export known. redoubt.ErrExists if its name is taken.
func (s *Server) Add(e Export) error {
	if err := redoubt.ValidName("export", e.Name); err != nil {
		return err
	}
	if e.Volume == nil || len(e.Description) > maxString {
		return &redoubt.Error{Op: "add export", Object: e.Name, Err: redoubt.ErrInvalid}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &redoubt.Error{Op: "add export", Object: e.Name, Err: redoubt.ErrClosed}
	}
	if _, ok := s.exports[e.Name]; ok {
		return &redoubt.Error{Op: "add export", Object: e.Name, Err: redoubt.ErrExists}
	}
	s.exports[e.Name] = e
	return nil
}

// Remove forgets an export and closes its connections; when it returns none of
// them uses the volume. redoubt.ErrNotFound if there is no such export.
func (s *Server) Remove(name string) error {
	s.mu.Lock()
	if _, ok := s.exports[name]; !ok {
		s.mu.Unlock()
		return &redoubt.Error{Op: "remove export", Object: name, Err: redoubt.ErrNotFound}
	}
	delete(s.exports, name)
	var gone []*conn
	for c := range s.conns {
		if c.export.Name == name {
			gone = append(gone, c)
			c.giveUp()
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		<-c.done
	}
	return nil
}

// Exports returns all exports, sorted by name.
func (s *Server) Exports() []Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Export
	for _, e := range s.exports {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b Export) int { return strings.Compare(a.Name, b.Name) })
	return out
}

var errNoExport = fmt.Errorf("no such export: %w", redoubt.ErrNotFound)

// choose makes the connection use the export with that name; the empty name
// means the only one. redoubt.ErrNotFound if there is none, redoubt.ErrDenied
// if it is not for this client.
func (s *Server) choose(c *conn, name string) error {
	s.mu.Lock()
	if name == "" && len(s.exports) == 1 {
		for name = range s.exports {
		}
	}
	_, ok := s.exports[name]
	s.mu.Unlock()
	if !ok {
		return &redoubt.Error{Op: "find export", Object: fmt.Sprintf("%.64q", name), Err: errNoExport}
	}
	if err := c.authorise(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.exports[name]
	if !ok {
		return &redoubt.Error{Op: "find export", Object: name, Err: errNoExport}
	}
	c.export = e
	return nil
}

// Serve accepts connections on l until Close, or until l is closed; it returns
// nil then. It may be called with several listeners. Clients are not asked who
// they are: l must be out of reach of strangers, see ListenUnix.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, nil) }

// ServeTLS is Serve for listeners that strangers reach: nothing but STARTTLS is
// served to them before TLS is on.
func (s *Server) ServeTLS(l net.Listener, sec Security) error {
	if sec.Config == nil {
		return &redoubt.Error{Op: "serve NBD on", Object: l.Addr().String(), Hint: "TLS needs a configuration", Err: redoubt.ErrInvalid}
	}
	return s.serve(l, &sec)
}

func (s *Server) serve(l net.Listener, sec *Security) error {
	s.mu.Lock()
	if s.closed || s.retiring {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = true
	s.accepting.Add(1)
	s.startWatch()
	s.mu.Unlock()
	lob := &lobby{sec: sec}
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.accepting.Done()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || isResource(err) {
				s.log.Warn("cannot accept NBD connections at present", "err", err)
				time.Sleep(50 * time.Millisecond) // out of descriptors: nothing tells when there are some again
				continue
			}
			return &redoubt.Error{Op: "accept NBD connection", Object: l.Addr().String(), Err: err}
		}
		s.start(nc, lob)
	}
}

func (s *Server) start(nc net.Conn, lob *lobby) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return
	}
	c := &conn{srv: s, raw: nc, nc: nc, lobby: lob, sec: lob.sec}
	s.enter(c)
	s.spawn(c)
}

// spawn lets a connection with its socket live. The caller holds s.mu.
func (s *Server) spawn(c *conn) {
	c.log, c.done = s.log.With("peer", peerName(c.raw)), make(chan struct{})
	c.ctx, c.cancel = context.WithCancel(context.Background())
	s.conns[c] = true
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		defer close(c.done)
		c.run()
		s.mu.Lock()
		s.dismiss(c) // first, so that a client that sees the end can come again
		s.mu.Unlock()
		c.giveUp()
	}()
}

// Conns returns the number of connections, also of those in their handshake.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// joined notes that the handshake of c is over.
func (s *Server) joined(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.joined = true
}

// Clients returns the number of connections that use the export with that
// name. Those still in the handshake do not count.
func (s *Server) Clients(export string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.conns {
		if c.joined && c.export.Name == export {
			n++
		}
	}
	return n
}

// Close closes the listeners and all connections, and returns when no request
// is being served. Requests that were not answered may or may not be carried out.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.giveUp()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

func peerName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return fmt.Sprintf("%s client", nc.LocalAddr().Network())
}
