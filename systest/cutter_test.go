package systest

import (
	"io"
	"net"
	"path/filepath"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// cutter is a steady client whose requests can be held back half way.
type cutter struct {
	*steady
	ask  chan chan struct{} // the next request stops until the channel is closed
	half chan struct{}      // half of it is on its way
}

// newCutter is newSteady with a relay in between.
func (b *bed) newCutter(disk string, blocks int) *cutter {
	b.Helper()
	c := &cutter{ask: make(chan chan struct{}, 1), half: make(chan struct{})}
	l, err := net.Listen("unix", filepath.Join(b.dir, "cut"))
	b.must(err)
	defer l.Close()
	there, err := net.Dial("unix", b.socket())
	b.must(err)
	go func() {
		defer there.Close()
		here, err := l.Accept()
		if err != nil {
			return
		}
		defer here.Close()
		go io.Copy(here, there)
		io.Copy(writers{c.forward(there)}, here)
	}()
	nc, err := oracle.Dial(b.ctx, l.Addr().String(), disk)
	b.must(err)
	c.steady = b.steady(nc, 0, blocks)
	return c
}

func (c *cutter) forward(to net.Conn) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		select {
		case release := <-c.ask:
			if n, err := to.Write(p[:len(p)/2]); err != nil {
				return n, err
			}
			c.half <- struct{}{}
			<-release
			n, err := to.Write(p[len(p)/2:])
			return len(p)/2 + n, err
		default:
			return to.Write(p)
		}
	}
}

// cut returns when half of a request has been sent; release sends the rest.
func (c *cutter) cut() (release func()) {
	rest := make(chan struct{})
	c.ask <- rest
	<-c.half
	return func() { close(rest) }
}
