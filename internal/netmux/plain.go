package netmux

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

var errPlainText = errors.New("client speaks plain text")

const (
	tlsHandshakeRecord = 0x16
	plainLine          = "this port speaks TLS 1.3 with client certificates; plain text is refused\r\n"
)

// sniffedConn gives back the byte that was looked at.
type sniffedConn struct {
	net.Conn
	first []byte
}

// Read implements net.Conn.
func (c *sniffedConn) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// sniff looks at the first byte: a TLS client opens with a handshake record. A
// client that waits in silence for us to speak (NBD, SSH) is plain text, too.
func sniff(c net.Conn) (*sniffedConn, error) {
	b := make([]byte, 1)
	_, err := io.ReadFull(c, b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &sniffedConn{Conn: c}, errPlainText
	}
	if err != nil {
		return nil, err
	}
	s := &sniffedConn{Conn: c, first: b}
	if b[0] != tlsHandshakeRecord {
		return s, errPlainText
	}
	return s, nil
}

// tellPlainText says why, in HTTP if that is what the client speaks. It drains
// a little first, because closing over unread input would discard our answer.
func tellPlainText(c *sniffedConn) {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	head := make([]byte, 512)
	n := 0
	if len(c.first) > 0 {
		n, _ = c.Read(head[:1])
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		k, _ := c.Read(head[n:])
		n += k
	}
	answer := plainLine
	if i := bytes.IndexByte(head[:n], '\n'); i > 0 && bytes.Contains(head[:i], []byte(" HTTP/1.")) {
		answer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n" + plainLine
	}
	_, _ = io.WriteString(c, answer)
	if t, ok := c.Conn.(*trackedConn); ok {
		if tc, ok := t.TCP().(*net.TCPConn); ok {
			_ = tc.CloseWrite()
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	_, _ = io.CopyN(io.Discard, c, 64<<10)
}
