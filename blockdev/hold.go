package blockdev

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// MaxHold is the longest time that a Hold keeps clients' writes back.
const MaxHold = 10 * time.Second

// Hold keeps clients' writes out of a group's order: they wait, and get no
// error. It ends with Release, or by itself at its limit. Its methods may be
// called concurrently.
type Hold struct {
	g     *Group
	began time.Time
	limit time.Duration
	timer *time.Timer
	over  atomic.Bool // changed under g.mu only
	took  time.Duration
}

// Hold begins to keep clients' writes back, for limit at most. When it returns
// no write of a client is on its way into the journal: those that are not in it
// wait and have no answer.
func (g *Group) Hold(limit time.Duration) (*Hold, error) {
	if limit <= 0 || limit > MaxHold {
		return nil, &redoubt.Error{Op: "hold writes", Object: limit.String(), Err: redoubt.ErrInvalid, Hint: "more than 0, at most " + MaxHold.String()}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return nil, &redoubt.Error{Op: "hold writes", Err: redoubt.ErrClosed}
	case g.failed != nil:
		return nil, g.failed
	}
	h := &Hold{g: g, began: time.Now(), limit: limit}
	g.holds++
	h.timer = time.AfterFunc(limit, func() { h.end() })
	return h, nil
}

// Release lets the writes go on. It returns how long they were held, and an
// error if the limit had ended the hold before: then writes may have passed.
func (h *Hold) Release() (time.Duration, error) {
	h.timer.Stop()
	if !h.end() {
		return h.took, h.Check()
	}
	return h.took, nil
}

// Check returns an error once the hold is over. While it returns nil inside the
// group's order (see AppendMark) no write of a client has passed since Hold.
func (h *Hold) Check() error {
	if !h.over.Load() {
		return nil
	}
	return &redoubt.Error{Op: "hold writes", Err: fmt.Errorf("the limit of %s is over: %w", h.limit, redoubt.ErrUnavailable),
		Hint: "the writes went on; try again when hosts and network are less busy"}
}

// end reports whether it was this call that ended the hold.
func (h *Hold) end() bool {
	h.g.mu.Lock()
	defer h.g.mu.Unlock()
	if h.over.Load() {
		return false
	}
	h.took = time.Since(h.began)
	h.over.Store(true)
	h.g.holds--
	h.g.wake()
	return true
}
