package metrics

import (
	"net"
	"sync"
	"time"
)

// MaxConns is how many connections are served at once; more wait unaccepted.
// Where metrics are served over TCP every user of the host reaches them.
const MaxConns = 64

// The times after which a connection that does not go on is closed. The write
// timeout bounds the longest profile.
const (
	headTimeout  = 10 * time.Second
	idleTimeout  = time.Minute
	writeTimeout = 2 * time.Minute
)

// limited accepts a connection only while fewer than cap(places) are open.
type limited struct {
	net.Listener
	places chan struct{}
	done   chan struct{}
	once   sync.Once
}

func limit(l net.Listener, n int) *limited {
	return &limited{Listener: l, places: make(chan struct{}, n), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &placed{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close implements net.Listener.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// placed gives its place back when it is closed.
type placed struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *placed) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
