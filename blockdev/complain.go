package blockdev

import "time"

// complain logs what a client did wrong. Those who are not admitted have an
// account of their own, so that they cannot drown what is said of others.
func (c *conn) complain(msg string, args ...any) {
	p := &c.srv.strangers
	if c.pulse.live.Load() {
		p = &c.srv.clients
	}
	p.Warn(c.log, time.Now(), msg, args...)
}
