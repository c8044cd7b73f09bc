package blockdev

import "time"

// expiry is when clients' writes end by themselves.
type expiry struct {
	at  time.Time // zero: never
	err error     // what they fail with then
}

// SetExpiry makes clients' writes fail with err once the group's clock is at t,
// until it is set anew; the zero time means never. Each write looks at the clock
// itself, so that a process that stood still does not take one too late.
func (g *Group) SetExpiry(t time.Time, err error) {
	g.mu.Lock()
	g.expiry = expiry{t, asReadOnly(err)}
	g.mu.Unlock()
}

// expired is called with g.mu held.
func (g *Group) expired() bool {
	return !g.expiry.at.IsZero() && !g.o.Now().Before(g.expiry.at)
}
