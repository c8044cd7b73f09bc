package wire

import (
	"net"
	"os"
	"time"
)

// IdleReader reads from Conn and fails with a timeout when no byte arrives for
// Timeout. A slow peer that makes progress is never cut off. To end a blocked
// read, close Done and then set a read deadline in the past. Not for concurrent
// reads.
type IdleReader struct {
	Conn    net.Conn
	Timeout time.Duration
	Done    <-chan struct{} // optional
}

// Read implements io.Reader.
func (r IdleReader) Read(p []byte) (int, error) {
	if err := r.Conn.SetReadDeadline(time.Now().Add(r.Timeout)); err != nil {
		return 0, err
	}
	// Looked at after the deadline was moved: else one set because of Done could be undone.
	select {
	case <-r.Done:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	return r.Conn.Read(p)
}
