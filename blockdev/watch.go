package blockdev

import (
	"sync/atomic"
	"time"
)

// pulse tells the watch what a connection is doing, at the cost of a store
// before and after each system call. A value means: count of calls, and the
// bits below.
type pulse struct {
	read atomic.Uint64 // of the reader loop
	sent atomic.Uint64 // of whoever sends; under sendMu
	live atomic.Bool   // the handshake is over
}

const (
	pulseBusy   = 1 << 0 // in the system call
	pulseMidway = 1 << 1 // reading: the rest of a request is due
	pulseRest   = 1 << 2 // reading: without a chunk
	pulseCount  = 1 << 3
)

// watched is what the watch remembers of a connection.
type watched struct {
	read, sent     uint64
	readAt, sentAt time.Time // when they last changed
}

// startWatch starts the watch unless it runs. The caller holds s.mu.
func (s *Server) startWatch() {
	if !s.watching {
		s.watching = true
		s.wg.Add(1)
		go s.watch()
	}
}

// watch ends connections that hold memory and do not go on, and lets idle ones
// give theirs back. A deadline at each system call would do the same at a
// higher price.
func (s *Server) watch() {
	defer s.wg.Done()
	tick := time.NewTicker(max(min(s.o.StallTimeout, s.o.IdleAfter)/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			s.mu.Lock()
			for c := range s.conns {
				if c.pulse.live.Load() {
					s.look(c, now)
				}
			}
			s.mu.Unlock()
		}
	}
}

func (s *Server) look(c *conn, now time.Time) {
	w := &c.watched
	if v := c.pulse.sent.Load(); v != w.sent || w.sentAt.IsZero() {
		w.sent, w.sentAt = v, now
	} else if v&pulseBusy != 0 && now.Sub(w.sentAt) >= s.o.StallTimeout {
		c.complain("NBD client does not take its answers", "for", now.Sub(w.sentAt))
		c.giveUp()
		return
	}
	v := c.pulse.read.Load()
	if v != w.read || w.readAt.IsZero() {
		w.read, w.readAt = v, now
		return
	}
	quiet := now.Sub(w.readAt)
	switch {
	case v&pulseBusy == 0:
	case v&pulseMidway != 0:
		if quiet >= s.o.StallTimeout {
			c.complain("NBD client does not send the rest of a request", "for", quiet)
			c.giveUp()
		}
	case v&pulseRest == 0 && quiet >= s.o.IdleAfter:
		c.raw.SetReadDeadline(now) // wakes the reader loop, see rest
	}
}

// beginRead and endRead stand around a read from the socket.
func (c *conn) beginRead() {
	v := c.reads | pulseBusy
	if c.cur.on || c.w > c.r {
		v |= pulseMidway
	}
	if c.resting {
		v |= pulseRest
	}
	c.pulse.read.Store(v)
}

func (c *conn) endRead() {
	c.reads += pulseCount
	c.pulse.read.Store(c.reads)
}

// rest gives back what an idle connection holds: its chunk, its buffer for
// answers and its workers. Memory comes back with the next request.
func (c *conn) rest() {
	c.vol.g.chunks.retire(c.in)
	c.in, c.r, c.w = &chunk{b: make([]byte, restChunk)}, 0, 0
	c.out, c.ws, c.acks = nil, nil, nil
	close(c.jobs) // workers that are busy finish first
	c.jobs, c.workers = make(chan request), 0
	if c.sendMu.TryLock() { // or somebody uses it
		c.spare = nil
		c.sendMu.Unlock()
	}
	c.resting = true
}
