package rpc

import (
	"context"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt/internal/wire"
)

const (
	// writeTimeout bounds one frame: the slowest link that may carry shards
	// moves 64 MiB in this time.
	writeTimeout = 30 * time.Second
	// writeGrace is what a frame under way gets when its caller gives up. A
	// living connection takes it in that time; a dead one is closed, so that a
	// dead node costs its callers their deadline and not more.
	writeGrace = 250 * time.Millisecond
)

// frameWriter lets many goroutines write whole frames.
type frameWriter struct {
	conn net.Conn
	sem  chan struct{} // held while a frame is written
}

func newFrameWriter(c net.Conn) *frameWriter {
	return &frameWriter{conn: c, sem: make(chan struct{}, 1)}
}

func (w *frameWriter) lock()   { w.sem <- struct{}{} }
func (w *frameWriter) unlock() { <-w.sem }

// write waits for its turn as long as ctx allows. sent is false if nothing was
// written; any other failure leaves the connection unusable and closes it.
func (w *frameWriter) write(ctx context.Context, typ uint8, parts ...[]byte) (sent bool, err error) {
	select {
	case w.sem <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer w.unlock()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	hurried := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.conn.SetWriteDeadline(time.Now().Add(writeGrace))
		close(hurried)
	})
	err = wire.WriteFrame(w.conn, typ, parts...)
	if !stop() {
		<-hurried // or it would hurry the next one
	}
	if err != nil {
		w.conn.Close()
	}
	return true, err
}
