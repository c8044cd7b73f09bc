package blockdev

import (
	"fmt"
	"net"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

// Adopt goes on with a connection that another life of this daemon handed
// over. It owns h, also when it fails, and the client sees a closed connection then:
// redoubt.ErrNotFound if the export is gone, redoubt.ErrState if its size differs
// or there is no place, redoubt.ErrCorrupt if h makes no sense.
func (s *Server) Adopt(h handover.Conn) error {
	fail := func(err error, hint string) error {
		h.End()
		return &redoubt.Error{Op: "take over NBD connection to", Object: h.Export, Err: err, Hint: hint}
	}
	s.mu.Lock()
	e, ok := s.exports[h.Export]
	s.mu.Unlock()
	switch {
	case h.FD < 0:
		return fail(fmt.Errorf("its socket did not arrive: %w", redoubt.ErrNotFound), "is FileDescriptorStoreMax of the unit large enough?")
	case !ok:
		return fail(errNoExport, "the configuration has changed; the client must connect again")
	case e.Volume.Disk().Size != h.Size:
		return fail(fmt.Errorf("the disk has %d bytes, the client knows %d: %w", e.Volume.Disk().Size, h.Size, redoubt.ErrState), "the client must connect again")
	}
	if err := plausible(h); err != nil {
		return fail(err, "")
	}
	nc, err := h.Open()
	if err != nil {
		return fail(err, "")
	}
	if err := s.adopt(nc, e, h); err != nil {
		nc.Close()
		return fail(err, "")
	}
	return nil
}

// plausible checks what a part write would do.
func plausible(h handover.Conn) error {
	w := h.Write
	if w == nil {
		if len(h.Left) >= requestLen {
			return fmt.Errorf("%d bytes are left of a request: %w", len(h.Left), redoubt.ErrCorrupt)
		}
		return nil
	}
	// The length of a refused request may be anything.
	inside := redoubt.Extent{Off: w.Off, Len: w.Left}.Within(h.Size) && w.Left <= MaxPayload
	if w.Left == 0 || w.Errno == 0 && !inside || uint64(len(h.Left)) > pieceMax {
		return fmt.Errorf("part write of %d bytes at %d, %d bytes are there: %w", w.Left, w.Off, len(h.Left), redoubt.ErrCorrupt)
	}
	return nil
}

func (s *Server) adopt(nc net.Conn, e Export, h handover.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.retiring:
		return redoubt.ErrClosed
	case s.admitted >= s.o.MaxConns:
		return fmt.Errorf("%d connections are served: %w", s.admitted, redoubt.ErrState)
	}
	c := &conn{srv: s, raw: nc, nc: nc, lobby: &lobby{}, export: e, admitted: true, structured: h.Structured, allocation: h.Allocation, taken: &h}
	s.admitted++
	s.startWatch()
	s.spawn(c)
	return nil
}

// resume puts back what the connection was about.
func (c *conn) resume() {
	c.now = c.vol.g.clock()
	if w := c.taken.Write; w != nil {
		c.cur = incoming{on: true, cookie: w.Cookie, fua: w.FUA, errno: w.Errno, off: w.Off, left: w.Left, at: c.now}
		if c.export.ReadOnly && w.Errno == 0 {
			c.cur.errno = errPerm
		}
	}
	if left := c.taken.Left; len(left) > 0 {
		c.in, c.resting = c.vol.g.chunks.get(), false
		c.w = copy(c.in.b, left)
		c.taken.Left = nil
	}
}
