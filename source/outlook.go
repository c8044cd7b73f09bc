package source

import (
	"context"
	"sync"
	"time"
)

const (
	// outlookEvery is how often the rate of writes is looked at.
	outlookEvery = 2 * time.Second
	// outlookHalf is the age at which a rate counts half.
	outlookHalf = time.Minute
)

// outlook estimates how long the journal lasts while nothing of it goes.
type outlook struct {
	mu    sync.Mutex
	at    time.Time
	bytes uint64  // journaled by clients, since the group was opened
	rate  float64 // bytes a second
}

// note takes the bytes that were journaled until now.
func (o *outlook) note(now time.Time, bytes uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	dt := now.Sub(o.at)
	if o.at.IsZero() || dt <= 0 || bytes < o.bytes {
		o.at, o.bytes = now, bytes
		return
	}
	rate := float64(bytes-o.bytes) / dt.Seconds()
	w := dt.Seconds() / (dt.Seconds() + outlookHalf.Seconds())
	if o.rate == 0 {
		w = 1
	}
	o.rate += w * (rate - o.rate)
	o.at, o.bytes = now, bytes
}

// lasts returns how long free bytes last at the present rate; ok is false if
// nothing is written.
func (o *outlook) lasts(free int64) (d time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	const most = 10 * 365 * 24 * time.Hour
	if o.rate < 1 {
		return 0, false
	}
	s := float64(max(0, free)) / o.rate
	if s > most.Seconds() {
		return 0, false
	}
	return time.Duration(s * float64(time.Second)), true
}

// watchJournal keeps the outlook until ctx is done.
func (g *Group) watchJournal(ctx context.Context) {
	for ctx.Err() == nil {
		var bytes uint64
		for _, d := range g.disks.Stats().Disks {
			bytes += d.WriteBytes
		}
		g.outlook.note(g.host.Now(), bytes)
		pause(ctx, outlookEvery)
	}
}
