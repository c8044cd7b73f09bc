package journal

import (
	"context"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// groupCommit elects one of the goroutines that wait for a sync to do it for
// all of them.
type groupCommit struct {
	// one holds back a second fdatasync beside a first: the kernel reports a
	// failed write-back to one of them only, and the other would say "durable".
	one   sync.Mutex
	mu    sync.Mutex    // guards what follows
	round chan struct{} // closed when the sync under way is over; nil if there is none
	wants []redoubt.LSN // of the callers that no sync has served yet
}

// served takes those callers out of wants who have what they asked for, now
// that everything up to durable is, and counts them. It is called with mu held.
func (c *groupCommit) served(durable redoubt.LSN) (n uint64) {
	left := c.wants[:0]
	for _, l := range c.wants {
		if l <= durable {
			n++
		} else {
			left = append(left, l)
		}
	}
	c.wants = left
	return n
}

// Sync returns when every record up to upTo (at most the head) is durable. Many
// concurrent calls share one fdatasync. A failed sync is final, see Err. When
// ctx ends first its error is returned, and the sync goes on for the others. After
// a reset meanwhile there is nothing left to be made durable.
func (j *Journal) Sync(ctx context.Context, upTo redoubt.LSN) error {
	j.count.syncCalls.Add(1)
	listed := false // in wants
	for {
		if err := j.Err(); err != nil {
			return err
		}
		upTo = min(upTo, j.Head().LSN) // again each time: a reset voids what it waits for
		if j.Durable() >= upTo {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		j.sync.mu.Lock()
		if !listed && j.Durable() >= upTo { // since we looked: nothing is left to be done
			j.sync.mu.Unlock()
			return nil
		}
		if !listed {
			j.sync.wants, listed = append(j.sync.wants, upTo), true
		}
		if round := j.sync.round; round != nil {
			j.sync.mu.Unlock()
			select {
			case <-round:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		round := make(chan struct{})
		j.sync.round = round
		j.sync.mu.Unlock()

		err := j.syncAll()
		j.sync.mu.Lock()
		if n := j.sync.served(j.Durable()); n > 0 {
			j.figures.callers.Observe(n, 1)
		}
		j.sync.round = nil
		j.sync.mu.Unlock()
		close(round)
		if err != nil {
			return err
		}
	}
}

// syncAll makes everything published durable, older segments first, and
// advances the watermark.
func (j *Journal) syncAll() error {
	j.sync.one.Lock()
	defer j.sync.one.Unlock()
	if err := j.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	head, resets := j.head, j.resets
	list := append(make([]*segment, 0, 4), j.dirty...)
	seen := make([]extent, 0, 4)
	for _, s := range list {
		s.pins++ // not reused for something else meanwhile
		seen = append(seen, s.p)
	}
	j.mu.Unlock()

	began := time.Now()
	var err error
	name := ""
	for _, s := range list {
		start := time.Now()
		if err = s.file.Sync(); err != nil {
			name = s.file.Name()
			break
		}
		j.figures.fdatasync.Time(time.Since(start), 1)
	}
	j.count.syncs.Add(int64(len(list)))
	j.count.syncNanos.Add(int64(time.Since(began)))

	j.mu.Lock()
	for _, s := range list {
		j.unpin(s)
	}
	if err == nil && resets == j.resets {
		for i, s := range list {
			s.synced = seen[i]
		}
		keep := j.dirty[:0]
		for _, s := range j.dirty {
			if i := indexOf(list, s); i >= 0 && s.p.end == seen[i].end {
				s.dirty = false
			} else {
				keep = append(keep, s)
			}
		}
		clear(j.dirty[len(keep):])
		j.dirty = keep
		if was := j.Durable(); head > was {
			j.figures.records.Observe(uint64(head-was), 1)
			j.durable.Store(uint64(head))
		}
	}
	j.mu.Unlock()
	if err != nil {
		return j.fail("sync journal", name, err)
	}
	return nil
}

func indexOf(list []*segment, s *segment) int {
	for i := range list {
		if list[i] == s {
			return i
		}
	}
	return -1
}

// unpin gives a segment up. It is called with mu held.
func (j *Journal) unpin(s *segment) {
	if s.pins--; s.pins == 0 && !s.live {
		j.wake()
	}
}

// Wait returns nil when the head's LSN is greater than after.
func (j *Journal) Wait(ctx context.Context, after redoubt.LSN) error {
	for {
		if err := j.usable("wait for journal"); err != nil {
			return err
		}
		j.mu.Lock()
		if j.head > after {
			j.mu.Unlock()
			return nil
		}
		if j.news == nil {
			j.news = make(chan struct{})
		}
		news := j.news
		j.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
