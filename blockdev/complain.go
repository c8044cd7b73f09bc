package blockdev

import (
	"log/slog"
	"sync"
	"time"
)

// complaints logs what strangers can cause as often as they like: a burst in
// full, then so many a second, with the number of those left out.
type complaints struct {
	mu      sync.Mutex
	left    int
	at      time.Time
	omitted int
}

const (
	complaintBurst = 50
	complaintRate  = time.Second // for one more
)

func (p *complaints) warn(log *slog.Logger, now time.Time, msg string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if more := int(now.Sub(p.at) / complaintRate); p.at.IsZero() || p.left+more >= complaintBurst {
		p.left, p.at = complaintBurst, now
	} else if more > 0 {
		p.left, p.at = p.left+more, p.at.Add(time.Duration(more)*complaintRate)
	}
	if p.left == 0 {
		p.omitted++
		return
	}
	p.left--
	if p.omitted > 0 {
		args = append(args, "omitted", p.omitted)
		p.omitted = 0
	}
	log.Warn(msg, args...)
}

// complain logs what a client did wrong. Those who are not admitted have an
// account of their own, so that they cannot drown what is said of others.
func (c *conn) complain(msg string, args ...any) {
	p := &c.srv.strangers
	if c.pulse.live.Load() {
		p = &c.srv.clients
	}
	p.warn(c.log, time.Now(), msg, args...)
}
