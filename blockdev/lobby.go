package blockdev

import (
	"container/list"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// lobby holds the connections of one listener whose handshake is not over, the
// longest waiting first. Strangers fill the lobby of the listener that they
// reach, and nothing else: they take no place among the connections that are
// served, and when the lobby is full the one that dawdles most leaves.
type lobby struct {
	sec     *Security // nil: plain
	waiting list.List // of *conn; guarded by Server.mu
}

// enter gives c a place. The caller holds s.mu.
func (s *Server) enter(c *conn) {
	l := &c.lobby.waiting
	if l.Len() >= s.o.MaxHandshakes {
		old := l.Front().Value.(*conn)
		s.leaveLobby(old)
		old.giveUp()
		s.strangers.Warn(s.log, time.Now(), "NBD handshake abandoned: too many at once", "peer", peerName(old.raw), "limit", s.o.MaxHandshakes)
	}
	c.place = l.PushBack(c)
}

// leaveLobby takes c's place back, if it has one. The caller holds s.mu.
func (s *Server) leaveLobby(c *conn) {
	if c.place != nil {
		c.lobby.waiting.Remove(c.place)
		c.place = nil
	}
}

// admit moves c from the lobby to the connections that are served, unless
// there are MaxConns.
func (s *Server) admit(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.admitted:
		return nil
	case c.place == nil: // given up meanwhile
		return &redoubt.Error{Op: "admit NBD client", Object: peerName(c.raw), Err: redoubt.ErrClosed}
	case s.admitted >= s.o.MaxConns:
		return &redoubt.Error{Op: "admit NBD client", Object: peerName(c.raw), Err: fmt.Errorf("%d connections are served: %w", s.admitted, redoubt.ErrState),
			Hint: "close connections that are not needed, or let clients use fewer"}
	}
	s.leaveLobby(c)
	c.admitted = true
	s.admitted++
	return nil
}

// dismiss forgets c. The caller holds s.mu.
func (s *Server) dismiss(c *conn) {
	s.leaveLobby(c)
	if c.admitted {
		s.admitted--
	}
	delete(s.conns, c)
}
