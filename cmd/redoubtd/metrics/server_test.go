package metrics

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/net/netutil"
)

// Whoever reaches the port takes a bounded number of descriptors, for a bounded time.
func TestConnectionsAreBounded(t *testing.T) {
	under, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := netutil.LimitListener(under, 2)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		c, err := net.Dial("tcp", under.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third one was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // gives back one place
	third := <-accepted
	l.Close()
	for c := range accepted {
		t.Errorf("accepted after Close: %v", c)
	}
	second.Close()
	third.Close()
	if s := NewServer(nil).http; s.ReadTimeout == 0 || s.IdleTimeout == 0 || s.WriteTimeout == 0 {
		t.Error("a connection may stay for ever")
	}
}
