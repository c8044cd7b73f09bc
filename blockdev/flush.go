package blockdev

import "sync"

// Answers that need a sync are given by the reader loop itself to a client that
// waits for each of them: nobody must be woken. A client that goes on meanwhile
// gets them from a goroutine beside the loop, so that its next writes are in the
// journal before the next sync, which then serves more of them.

// habit is what a client was seen to do.
type habit struct {
	ahead  int  // syncs for which the client is taken not to wait idly
	pairs  int  // writes in a row that a flush followed at once
	wrote  bool // the present batch has writes,
	synced bool // or asks for a sync
	last   bool // the last batch had writes and asked for no sync
}

const (
	aheadMost = 16 // syncs after which it is looked again whether the client waits
	pairsMost = 4  // pairs after which a flush is expected behind each write
)

// syncs are the answers that wait for a sync beside the reader loop, in the
// order in which they came; so upTo never falls.
type syncs struct {
	mu      sync.Mutex
	waiting []ack
	running bool
}

// mostSyncs bounds the answers of a client that asks for syncs without end; at
// the bound the reader loop waits, and so the client.
const mostSyncs = 4 * batchWrites

// settle gives the answers that need a sync.
func (c *conn) settle(acks []ack) {
	c.habit.synced = true
	upTo := c.vol.g.acknowledged()
	for i := range acks {
		acks[i].upTo = upTo
	}
	c.send()
	if c.habit.ahead > 0 && c.settleLater(acks) {
		return
	}
	errno := c.errno(c.vol.g.flush(c.ctx, upTo))
	for _, a := range acks {
		a.errno = errno
		c.answer(a)
	}
	if c.r < c.w || c.peek.more() {
		c.habit.ahead = aheadMost
	}
}

// settleLater leaves the answers to a goroutine, or reports false if there are too many.
func (c *conn) settleLater(acks []ack) bool {
	s := &c.syncs
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= mostSyncs {
		return false
	}
	s.waiting = append(s.waiting, acks...)
	if !s.running {
		c.habit.ahead--
		s.running = true
		c.wg.Add(1)
		go c.settleAll()
	}
	return true
}

// settleAll syncs and answers until nobody waits. A sync answers whoever it
// covers, also those who came while it was waited for: to ask for one more, up to
// what others have written since, would double their way.
func (c *conn) settleAll() {
	defer c.wg.Done()
	s := &c.syncs
	var out []byte
	var told timings
	for {
		s.mu.Lock()
		s.running = len(s.waiting) > 0
		if !s.running {
			s.mu.Unlock()
			return
		}
		upTo := s.waiting[0].upTo
		s.mu.Unlock()
		errno := c.errno(c.vol.g.flush(c.ctx, upTo))
		upTo = max(upTo, c.vol.g.j.Durable())
		out = out[:0]
		s.mu.Lock()
		n := 0
		for _, a := range s.waiting {
			if errno == 0 && a.upTo > upTo {
				break
			}
			n++
			out = appendSimple(out, a.cookie, errno)
			if errno == 0 {
				told.add(a.class, a.at)
			}
		}
		s.waiting = append(s.waiting[:0], s.waiting[n:]...)
		s.mu.Unlock()
		told.observe(c.vol)
		if err := c.write(out); err != nil {
			c.raw.Close() // the reader loop notices
		}
	}
}

// syncAhead syncs what was just written and answered for a client that has been
// sending a flush behind each write: the flush arrives meanwhile. A failure is
// latched by the journal, and told to the flush.
func (c *conn) syncAhead() {
	h := &c.habit
	switch {
	case h.synced:
		if h.last {
			h.pairs = min(h.pairs+1, pairsMost)
		}
		h.last = false
	case h.wrote:
		if h.last {
			h.pairs = 0
		}
		h.last = true
		if h.pairs == pairsMost && h.ahead == 0 && c.r == c.w {
			_ = c.vol.g.j.Sync(c.ctx, c.in.last)
		}
	}
	h.wrote, h.synced = false, false
}
