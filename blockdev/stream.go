package blockdev

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// stream answers a READ for which the server's budget has no buffer. Of all such
// READs of a connection one at a time is read and sent, piece by piece, through
// one buffer. What it costs: once a simple answer, or one in a single chunk, has
// begun, the protocol has no way to tell that the backing fails; the connection
// ends then.
func (c *conn) stream(req request) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if c.spare == nil {
		c.spare = make([]byte, pieceBuffer)
	}
	if c.inPieces(req) {
		return c.readPieces(c.spare, req, c.push)
	}
	head := c.dataHeadLen()
	for off, end := req.off, req.off+uint64(req.len); off < end; {
		b := c.spare[:head+int(min(end-off, inlineRead))]
		if err := c.vol.disk.read(b[head:], off); err != nil {
			refusal := c.readFailed(b, req, off, err)
			if off == req.off {
				return c.push(refusal)
			}
			return &redoubt.Error{Op: "read", Object: c.export.Name, Err: fmt.Errorf("at %d, in the middle of an answer: %w", off, err)}
		}
		n := uint64(len(b) - head)
		if off == req.off {
			c.dataHead(b[:0], req)
		} else {
			b = b[head:]
		}
		if off += n; off == end {
			c.vol.disk.count.read(req)
		}
		if err := c.push(b); err != nil {
			return err
		}
	}
	return nil
}
