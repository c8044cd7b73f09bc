package oracle

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

const (
	copyBlock  = 256 << 10
	copyWindow = 8
)

// pendingRead is one READ of CopyTo that is on its way.
type pendingRead struct {
	handle uint64
	buf    []byte
	done   bool
}

// CopyTo reads the whole disk in order into w, eight requests ahead. The
// server may answer in any order.
func (c *Client) CopyTo(w io.Writer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := make([][]byte, copyWindow)
	for i := range free {
		free[i] = make([]byte, copyBlock)
	}
	var queue []*pendingRead
	for sent := uint64(0); ; {
		for sent < c.size && len(free) > 0 {
			n := min(copyBlock, c.size-sent)
			h, err := c.send(protocol.TRANSMISSION_TYPE_REQUEST_READ, 0, sent, uint32(n), nil)
			if err != nil {
				return fmt.Errorf("nbd read: %w", err)
			}
			queue = append(queue, &pendingRead{handle: h, buf: free[len(free)-1][:n]})
			free, sent = free[:len(free)-1], sent+n
		}
		if len(queue) == 0 {
			return nil
		}
		if err := c.receiveAny(queue); err != nil {
			return err
		}
		for len(queue) > 0 && queue[0].done {
			if _, err := w.Write(queue[0].buf); err != nil {
				return err
			}
			free, queue = append(free, queue[0].buf[:copyBlock]), queue[1:]
		}
	}
}

// receiveAny reads one reply and fills the read that it belongs to.
func (c *Client) receiveAny(queue []*pendingRead) error {
	var b [16]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return fmt.Errorf("nbd read: connection lost: %w", err)
	}
	if binary.BigEndian.Uint32(b[:]) != protocol.TRANSMISSION_MAGIC_REPLY {
		return fmt.Errorf("nbd read: bad reply magic")
	}
	for _, p := range queue {
		if p.handle != binary.BigEndian.Uint64(b[8:]) || p.done {
			continue
		}
		if code := binary.BigEndian.Uint32(b[4:]); code != 0 {
			return &ErrRemote{Op: "read", Code: code}
		}
		if _, err := io.ReadFull(c.r, p.buf); err != nil {
			return fmt.Errorf("nbd read: connection lost: %w", err)
		}
		p.done = true
		return nil
	}
	return fmt.Errorf("nbd read: a reply to no request")
}
