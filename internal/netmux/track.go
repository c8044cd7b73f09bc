package netmux

import (
	"net"
	"sync"
)

// trackedConn gives its slot back and leaves the mux's set when it is closed.
type trackedConn struct {
	net.Conn
	m    *Mux
	once sync.Once
}

func (m *Mux) track(c net.Conn) (*trackedConn, bool) {
	t := &trackedConn{Conn: c, m: m}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closing:
		c.Close()
		<-m.slots
		return nil, false
	default:
	}
	m.open[c] = struct{}{}
	return t, true
}

// TCP returns the connection below.
func (t *trackedConn) TCP() net.Conn { return t.Conn }

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	err := t.Conn.Close()
	t.once.Do(func() {
		t.m.mu.Lock()
		delete(t.m.open, t.Conn)
		t.m.mu.Unlock()
		<-t.m.slots
	})
	return err
}
