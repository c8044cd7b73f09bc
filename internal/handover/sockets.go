package handover

import (
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/redoubt-dr/redoubt"
)

// Sockets are the listening sockets of this process. It holds a descriptor of
// each, so that they go on collecting clients when their servers are closed.
// A nil *Sockets listens and keeps nothing. Methods may be called concurrently.
type Sockets struct {
	mu    sync.Mutex
	found []Listener // inherited and not asked for yet
	open  []kept
}

type kept struct {
	Listener
	l net.Listener
}

// NewSockets returns the sockets of a process that inherited some; it owns them.
func NewSockets(inherited []Listener) *Sockets { return &Sockets{found: inherited} }

// Listen returns the inherited socket for key, which is "unix:PATH" or
// "tcp:HOST:PORT", or what open makes.
func (s *Sockets) Listen(key string, open func() (net.Listener, error)) (net.Listener, error) {
	if s == nil {
		return open()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.inherited(key)
	if err != nil {
		return nil, &redoubt.Error{Op: "take over socket", Object: key, Err: err}
	}
	if l == nil {
		if l, err = open(); err != nil {
			return nil, err
		}
	}
	sc, ok := l.(syscall.Conn)
	if !ok {
		return l, nil
	}
	fd, err := Dup(sc)
	if err != nil {
		l.Close()
		return nil, &redoubt.Error{Op: "keep socket", Object: key, Err: err}
	}
	s.open = append(s.open, kept{Listener{Key: key, FD: fd}, l})
	return l, nil
}

// inherited returns the socket for key among those found, or nil. The caller holds s.mu.
func (s *Sockets) inherited(key string) (net.Listener, error) {
	for i, f := range s.found {
		if f.FD < 0 || !f.serves(key) {
			continue
		}
		s.found = append(s.found[:i:i], s.found[i+1:]...)
		file := os.NewFile(uintptr(f.FD), key)
		defer file.Close() // FileListener makes another
		l, err := net.FileListener(file)
		if u, ok := l.(*net.UnixListener); ok {
			path := strings.TrimPrefix(key, "unix:")
			return &unixListener{UnixListener: u, path: path, remove: f.Key == key}, nil
		}
		return l, err
	}
	return nil, nil
}

// unixListener removes the socket where it lies: net does not for one that it
// did not bind. One that the service manager made is its own to remove.
type unixListener struct {
	*net.UnixListener
	path   string
	remove bool
}

// SetUnlinkOnClose says whether Close removes the socket.
func (l *unixListener) SetUnlinkOnClose(remove bool) { l.remove = l.remove && remove }

// Close stops listening.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil && l.remove {
		_ = os.Remove(l.path) // it may be gone already
	}
	return err
}

// Addr returns the socket's path.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// CloseRest closes what was inherited and not asked for.
func (s *Sockets) CloseRest(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.found {
		if s.found[i].FD >= 0 && !s.known(s.found[i]) {
			log.Warn("an inherited socket is closed: no part of the configuration listens there", "address", s.found[i].Key)
		}
		closeFD(&s.found[i].FD)
	}
	s.found = nil
}

// known reports whether a socket that serves the same address is open. The
// service manager passes what it made in every life, and keeps it besides.
func (s *Sockets) known(f Listener) bool {
	for _, k := range s.open {
		if f.serves(k.Key) {
			return true
		}
	}
	return false
}

// Keep lets the socket files stay when their listeners are closed from now on.
func (s *Sockets) Keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.open {
		if u, ok := k.l.(interface{ SetUnlinkOnClose(bool) }); ok {
			u.SetUnlinkOnClose(false)
		}
	}
}

// Hand gives the descriptors away, for a State.
func (s *Sockets) Hand() []Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Listener
	for _, k := range s.open {
		out = append(out, k.Listener)
	}
	s.open = nil
	return out
}

// Close lets go of the sockets; their listeners stay as they are.
func (s *Sockets) Close() {
	st := State{Listeners: s.Hand()}
	st.Close()
}
