package wire

import (
	"net"
	"time"
)

// IdleReader reads from Conn and fails with a timeout when no byte arrives for
// Timeout. A slow peer that makes progress is never cut off. Not for concurrent
// reads.
type IdleReader struct {
	Conn    net.Conn
	Timeout time.Duration
}

// Read implements io.Reader.
func (r IdleReader) Read(p []byte) (int, error) {
	if err := r.Conn.SetReadDeadline(time.Now().Add(r.Timeout)); err != nil {
		return 0, err
	}
	return r.Conn.Read(p)
}
