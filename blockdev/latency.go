package blockdev

import (
	"time"

	"github.com/redoubt-dr/redoubt/internal/histogram"
)

// A latency is what a client waits for the disk: from the read of the socket
// that brought the request's header until its answer is ready to be sent. All
// answers that are sent together are ready together, so the clock is looked at
// once for each read and each write of a socket, not for each request: a request
// of a batch took as long as its batch, and that is what the client saw.
//
// Not in it: the time in the socket before the read, which is long where a client
// sends on while its connection waits for a flush, for memory or for the journal;
// a client that is slow to take its answers; and refused and failed requests.

// class is what a request's latency is counted under.
type class uint8

const (
	classRead  class = iota
	classWrite       // WRITE, WRITE_ZEROES and TRIM; with FUA the sync is part of it
	classFlush
	classes
)

// latencies of one disk, by class.
type latencies [classes]histogram.Histogram

// timings notes which requests are about to be answered, by class and time of
// arrival; those of one batch share both and take one entry.
type timings []timing

type timing struct {
	class class
	at    int64
	n     uint64
}

func (t *timings) add(c class, at int64) {
	s := *t
	for i := len(s) - 1; i >= 0 && s[i].at == at; i-- {
		if s[i].class == c {
			s[i].n++
			return
		}
	}
	*t = append(s, timing{class: c, at: at, n: 1})
}

// observe counts all of them as answered now.
func (t *timings) observe(v *Volume) {
	if len(*t) == 0 {
		return
	}
	now := v.g.clock()
	for _, x := range *t {
		v.observe(x.class, x.at, now, x.n)
	}
	*t = (*t)[:0]
}

// observe counts n requests that came at the time at and are answered now.
func (v *Volume) observe(c class, at, now int64, n uint64) {
	v.disk.latency[c].Time(time.Duration(now-at), n)
}

// clock returns the nanoseconds since the group was opened, by the monotonic
// clock: durations are not the business of GroupOptions.Now, which may be set.
func (g *Group) clock() int64 { return int64(time.Since(g.opened)) }
