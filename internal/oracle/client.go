package oracle

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// Client is one NBD connection. Requests of several goroutines are sent one
// after the other; CopyTo keeps several in flight.
type Client struct {
	mu     sync.Mutex
	conn   net.Conn
	r      *bufio.Reader
	size   uint64
	flags  uint16
	handle uint64
	hdr    [28]byte
}

// Dial connects to a unix socket and opens an export by name.
func Dial(ctx context.Context, socket, export string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := c.handshake(export); err != nil {
		conn.Close()
		return nil, fmt.Errorf("nbd open %s at %s: %w", export, socket, err)
	}
	return c, nil
}

func (c *Client) handshake(export string) error {
	var hello [18]byte
	if _, err := io.ReadFull(c.r, hello[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint64(hello[:]) != protocol.NEGOTIATION_MAGIC_OLDSTYLE ||
		binary.BigEndian.Uint64(hello[8:]) != protocol.NEGOTIATION_MAGIC_OPTION {
		return fmt.Errorf("no NBD newstyle server")
	}
	flags := binary.BigEndian.Uint16(hello[16:]) & (clientFixedNewstyle | clientNoZeroes)
	b := binary.BigEndian.AppendUint32(nil, uint32(flags))
	b = binary.BigEndian.AppendUint64(b, protocol.NEGOTIATION_MAGIC_OPTION)
	b = binary.BigEndian.AppendUint32(b, protocol.NEGOTIATION_ID_OPTION_GO)
	b = binary.BigEndian.AppendUint32(b, uint32(len(export)+6))
	b = binary.BigEndian.AppendUint32(b, uint32(len(export)))
	b = append(b, export...)
	b = binary.BigEndian.AppendUint16(b, 0)
	if _, err := c.conn.Write(b); err != nil {
		return err
	}
	return c.goReplies()
}

// goReplies reads the answers to OPT_GO up to the ACK.
func (c *Client) goReplies() error {
	for {
		var h [20]byte
		if _, err := io.ReadFull(c.r, h[:]); err != nil {
			return err
		}
		typ, n := binary.BigEndian.Uint32(h[12:]), binary.BigEndian.Uint32(h[16:])
		if binary.BigEndian.Uint64(h[:]) != protocol.NEGOTIATION_MAGIC_REPLY || n > maxOptionLen {
			return fmt.Errorf("bad option reply")
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(c.r, body); err != nil {
			return err
		}
		switch {
		case typ == protocol.NEGOTIATION_TYPE_REPLY_ACK:
			if c.size == 0 {
				return fmt.Errorf("the server sent no size")
			}
			return nil
		case typ == protocol.NEGOTIATION_TYPE_REPLY_INFO && n >= 12 &&
			binary.BigEndian.Uint16(body) == protocol.NEGOTIATION_TYPE_INFO_EXPORT:
			c.size, c.flags = binary.BigEndian.Uint64(body[2:]), binary.BigEndian.Uint16(body[10:])
		case typ&(1<<31) != 0:
			return fmt.Errorf("the server refused the export: error %d %q", typ&^(1<<31), body)
		}
	}
}

// Size returns the export's size in bytes.
func (c *Client) Size() uint64 { return c.size }

// Flags returns the export's transmission flags.
func (c *Client) Flags() uint16 { return c.flags }

// Close says goodbye and closes the connection.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send(protocol.TRANSMISSION_TYPE_REQUEST_DISC, 0, 0, 0, nil)
	return c.conn.Close()
}

// ReadAt fills p from offset off.
func (c *Client) ReadAt(p []byte, off int64) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(n+1<<20, len(p))]
		if err := c.do("read", protocol.TRANSMISSION_TYPE_REQUEST_READ, 0, uint64(off)+uint64(n), uint32(len(part)), nil, part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), nil
}

// Write writes p, at most 32 MiB, at off; with fua it is durable on return.
func (c *Client) Write(p []byte, off uint64, fua bool) error {
	return c.do("write", protocol.TRANSMISSION_TYPE_REQUEST_WRITE, fuaFlag(fua), off, uint32(len(p)), p, nil)
}

// Zero makes n bytes at off read as zeros.
func (c *Client) Zero(off uint64, n uint32, fua bool) error {
	return c.do("write zeroes", cmdWriteZeroes, fuaFlag(fua), off, n, nil, nil)
}

// Trim gives n bytes at off back.
func (c *Client) Trim(off uint64, n uint32) error { return c.do("trim", cmdTrim, 0, off, n, nil, nil) }

// Flush makes every change answered before it durable.
func (c *Client) Flush() error { return c.do("flush", cmdFlush, 0, 0, 0, nil, nil) }

func fuaFlag(fua bool) uint16 {
	if fua {
		return cmdFlagFUA
	}
	return 0
}

func (c *Client) do(op string, typ, flags uint16, off uint64, n uint32, payload, into []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.send(typ, flags, off, n, payload)
	if err != nil {
		return fmt.Errorf("nbd %s: %w", op, err)
	}
	return c.receive(op, h, into)
}

func (c *Client) send(typ, flags uint16, off uint64, n uint32, payload []byte) (uint64, error) {
	c.handle++
	b := c.hdr[:]
	binary.BigEndian.PutUint32(b, protocol.TRANSMISSION_MAGIC_REQUEST)
	binary.BigEndian.PutUint16(b[4:], flags)
	binary.BigEndian.PutUint16(b[6:], typ)
	binary.BigEndian.PutUint64(b[8:], c.handle)
	binary.BigEndian.PutUint64(b[16:], off)
	binary.BigEndian.PutUint32(b[24:], n)
	bufs := net.Buffers{b}
	if len(payload) > 0 {
		bufs = append(bufs, payload)
	}
	_, err := bufs.WriteTo(c.conn)
	return c.handle, err
}

func (c *Client) receive(op string, handle uint64, into []byte) error {
	var b [16]byte
	if _, err := io.ReadFull(c.r, b[:]); err != nil {
		return fmt.Errorf("nbd %s: connection lost: %w", op, err)
	}
	if binary.BigEndian.Uint32(b[:]) != protocol.TRANSMISSION_MAGIC_REPLY || binary.BigEndian.Uint64(b[8:]) != handle {
		c.conn.Close()
		return fmt.Errorf("nbd %s: reply does not belong to the request", op)
	}
	if code := binary.BigEndian.Uint32(b[4:]); code != 0 {
		return &ErrRemote{Op: op, Code: code}
	}
	if _, err := io.ReadFull(c.r, into); err != nil {
		return fmt.Errorf("nbd %s: connection lost: %w", op, err)
	}
	return nil
}
