package blockdev

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

// errRetired ends the reader loop between two requests, for Server.Retire.
var errRetired = errors.New("connection is handed over")

// lobbyGrace is what handshakes get to be finished before Retire ends them.
const lobbyGrace = 200 * time.Millisecond

// Retire ends the server as Close does, but at a request boundary: whatever a
// client has sent whole is carried out and answered, for at most patience; a
// client that takes longer is closed. It returns the plain connections, which go
// on in another life through Adopt and are the caller's to close. Those with TLS,
// whose keys stay in this process, are closed, and so are all of a group that has
// failed: what was acknowledged and not flushed is not certain there.
func (s *Server) Retire(patience time.Duration) []handover.Conn {
	s.mu.Lock()
	s.retiring = true
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.accepting.Wait() // whoever was accepted is in the lobby now
	s.emptyLobby()

	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for c := range s.conns {
		if c.joined {
			c.retire()
		} else {
			c.giveUp()
		}
	}
	s.mu.Unlock()
	late := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			c.complain("NBD connection closed: it did not come to a request boundary in time", "patience", patience)
			c.giveUp()
		}
	})
	s.wg.Wait()
	late.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.handed
	s.handed = nil
	return out
}

// Shutdown is Close at a request boundary: Retire, and nobody goes on.
func (s *Server) Shutdown(patience time.Duration) {
	for _, c := range s.Retire(patience) {
		c.End()
	}
}

// emptyLobby waits for handshakes, while the other clients are still served.
func (s *Server) emptyLobby() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(lobbyGrace); s.strangersLeft() && time.Now().Before(end); {
		<-tick.C
	}
}

func (s *Server) strangersLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if !c.joined {
			return true
		}
	}
	return false
}

// retire lets the reader loop end at the next request boundary. The loop looks
// at retiring after it has cleared a deadline and before it reads, so that the
// wake-up cannot get lost.
func (c *conn) retire() {
	c.retiring.Store(true)
	c.raw.SetReadDeadline(time.Now())
}

// handOver gives the connection to the server's list. Nothing of it runs any more.
func (c *conn) handOver() error {
	if c.tls != nil {
		return errLeft
	}
	if err := c.vol.g.Err(); err != nil {
		return fmt.Errorf("not handed over: %w", err)
	}
	sock, ok := c.raw.(syscall.Conn)
	if !ok {
		return &redoubt.Error{Op: "hand over", Object: fmt.Sprintf("%T", c.raw), Err: redoubt.ErrInvalid}
	}
	h := handover.Conn{Export: c.export.Name, Size: c.vol.Disk().Size, Structured: c.structured, Allocation: c.allocation,
		Left: bytes.Clone(c.in.b[c.r:c.w])}
	if u := c.cur; u.on {
		h.Write = &handover.PartWrite{Cookie: u.cookie, FUA: u.fua, Errno: u.errno, Off: u.off, Left: u.left}
	}
	var err error
	if h.FD, err = handover.Dup(sock); err != nil { // a worker found the client gone, or it was given up
		return err
	}
	c.srv.mu.Lock()
	c.srv.handed = append(c.srv.handed, h)
	c.srv.mu.Unlock()
	return nil
}
