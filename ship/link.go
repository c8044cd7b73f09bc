package ship

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt/internal/wire"
)

// limitedWriter writes to conn at no more than rate bytes per second, in pieces,
// so that a slow link can be had where there is none. rate 0 means no limit.
type limitedWriter struct {
	ctx  context.Context
	conn net.Conn
	rate int64
	next time.Time // when the next byte may go
}

const limitPiece = 16 << 10

// Write implements io.Writer.
func (l *limitedWriter) Write(p []byte) (int, error) {
	if l.rate <= 0 {
		return l.conn.Write(p)
	}
	done := 0
	for done < len(p) {
		if wait := time.Until(l.next); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-l.ctx.Done():
				t.Stop()
				return done, context.Cause(l.ctx)
			}
		} else {
			l.next = time.Now()
		}
		n, err := l.conn.Write(p[done:min(len(p), done+limitPiece)])
		done += n
		l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Cork holds back what is written until Uncork, to pass it on in larger pieces,
// if there is no limit and conn can do that.
func (l *limitedWriter) Cork() {
	if c, ok := l.conn.(wire.Corker); ok && l.rate <= 0 {
		c.Cork()
	}
}

// Uncork passes on what was held back.
func (l *limitedWriter) Uncork() error {
	if c, ok := l.conn.(wire.Corker); ok && l.rate <= 0 {
		return c.Uncork()
	}
	return nil
}

var _ io.Writer = (*limitedWriter)(nil)

// Bounds of the automatic choice, in bytes per second of what the link takes.
const (
	slowLink    = 100 << 20 // below: zstd
	fastLink    = 200 << 20 // above: s2 again; the distance keeps it from swinging
	meterWindow = 4 << 20   // bytes between two decisions
)

// linkMeter chooses the codec by how fast the link takes bytes: what is written
// into socket buffers only costs no time and counts as fast.
type linkMeter struct {
	mu    sync.Mutex
	auto  bool
	codec Codec
	bytes int64
	spent time.Duration
	rate  float64 // of the last window
}

func newLinkMeter(c Codec) *linkMeter {
	if c == CodecAuto {
		return &linkMeter{auto: true, codec: CodecS2}
	}
	return &linkMeter{codec: c}
}

func (m *linkMeter) wrote(n int, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += int64(n)
	m.spent += d
	if m.bytes < meterWindow || m.spent <= 0 {
		return
	}
	m.rate = float64(m.bytes) / m.spent.Seconds()
	m.bytes, m.spent = 0, 0
	if !m.auto {
		return
	}
	switch {
	case m.rate < slowLink:
		m.codec = CodecZstd
	case m.rate > fastLink:
		m.codec = CodecS2
	}
}

func (m *linkMeter) state() (Codec, float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.codec, m.rate
}
