package blockdev

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sync/semaphore"

	"github.com/redoubt-dr/redoubt"
)

// run serves the client until it leaves, does what cannot be followed, or is
// handed over.
func (c *conn) run() {
	if c.taken == nil {
		if err := c.handshake(); err != nil {
			if !left(err) {
				c.complain("NBD handshake failed", "err", err, "hint", redoubt.Hint(err))
			}
			c.bye()
			return
		}
	}
	c.vol = c.export.Volume
	c.log = c.log.With("export", c.export.Name)
	c.in, c.resting = &chunk{b: make([]byte, restChunk)}, true
	c.jobs = make(chan request)
	c.slow = semaphore.NewWeighted(int64(c.srv.o.SlowBytes))
	c.peek = newPeek(c.raw)
	if c.taken != nil {
		c.resume()
	}
	c.log.Info("NBD client connected", "taken_over", c.taken != nil)
	c.srv.joined(c)
	c.pulse.live.Store(true)
	err := c.transmit()
	close(c.jobs)
	c.wg.Wait()
	if errors.Is(err, errRetired) {
		err = c.handOver()
	}
	c.vol.g.chunks.retire(c.in)
	if err == nil || left(err) {
		c.log.Info("NBD client left", "handed_over", err == nil)
		c.bye()
	} else {
		c.complain("NBD connection closed", "err", err)
	}
}

// left reports whether a connection ended in an orderly way.
func left(err error) bool {
	return errors.Is(err, errLeft) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}

// giveUp ends the connection from any goroutine.
func (c *conn) giveUp() {
	c.cancel()
	c.raw.Close()
}
