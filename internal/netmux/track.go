package netmux

import (
	"container/list"
	"fmt"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// places says who is connected: strangers, whose handshake is not over, and
// peers. Strangers take no place from peers, and no peer takes all.
type places struct {
	open      map[*trackedConn]struct{}
	strangers list.List // of *trackedConn, the longest waiting first
	peers     int       // of open
	of        map[pki.Identity]int
}

// trackedConn gives its place back when it is closed.
type trackedConn struct {
	net.Conn
	m *Mux

	place *list.Element // among the strangers; under m.mu
	peer  *pki.Identity // nil: not admitted; under m.mu
}

// track gives c a place among the strangers. When there are too many, the one
// that dawdles most leaves.
func (m *Mux) track(c net.Conn) (*trackedConn, bool) {
	t := &trackedConn{Conn: c, m: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closing:
		c.Close()
		return nil, false
	default:
	}
	if m.strangers.Len() >= m.limits.Strangers {
		old := m.strangers.Front().Value.(*trackedConn)
		m.forget(old)
		old.Conn.Close()
		m.complaints.strangers.Warn(m.log, time.Now(), "handshake abandoned: too many at once", "peer", old.RemoteAddr().String(), "limit", m.limits.Strangers)
	}
	m.open[t] = struct{}{}
	t.place = m.strangers.PushBack(t)
	return t, true
}

// admit makes a stranger a peer, unless there are too many.
func (m *Mux) admit(t *trackedConn, peer pki.Identity) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	tooMany := func(n int, whose string) error {
		return &redoubt.Error{Op: "connect", Object: peer.String(), Err: fmt.Errorf("too many are open: %d connections %s: %w", n, whose, redoubt.ErrUnavailable),
			Hint: "close connections that are not needed; is a program connecting again and again?"}
	}
	switch {
	case t.place == nil: // abandoned, or closed, meanwhile
		return &redoubt.Error{Op: "connect", Object: peer.String(), Err: redoubt.ErrClosed}
	case m.peers >= m.limits.Conns:
		return tooMany(m.peers, "of all peers")
	case m.of[peer] >= m.limits.PerPeer:
		return tooMany(m.of[peer], "of this peer")
	}
	m.strangers.Remove(t.place)
	t.place, t.peer = nil, &peer
	m.peers++
	m.of[peer]++
	return nil
}

// forget takes t's place back. The caller holds m.mu.
func (m *Mux) forget(t *trackedConn) {
	delete(m.open, t)
	if t.place != nil {
		m.strangers.Remove(t.place)
		t.place = nil
	}
	if t.peer == nil {
		return
	}
	m.peers--
	if m.of[*t.peer]--; m.of[*t.peer] == 0 {
		delete(m.of, *t.peer)
	}
	t.peer = nil
}

// TCP returns the connection below.
func (t *trackedConn) TCP() net.Conn { return t.Conn }

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	err := t.Conn.Close()
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	t.m.forget(t)
	return err
}
