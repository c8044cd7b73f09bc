package source

import (
	"context"
	"errors"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/compare"
)

// restartFrom begins a copy of what differs from r's base. It runs as soon as
// the journal is of r's epoch.
func (c *copier) restartFrom(r resyncState) error {
	st := copyState{Resync: &r}
	if disks := c.disks(); len(disks) > 0 {
		st.Disk = disks[0].ID
	}
	c.mu.Lock()
	c.state, c.announced = st, false
	c.mu.Unlock()
	return c.save()
}

// finish says that there is nothing to be copied: the disks came from the secondary.
func (c *copier) finish(at redoubt.LSN) error {
	c.mu.Lock()
	done := c.state.Done
	if !done {
		c.state.Done, c.state.Baseline = true, at
	}
	c.mu.Unlock()
	if done {
		return nil
	}
	return c.save()
}

// size is that of all disks, compared the part of it that is done. The caller holds c.mu.
func (c *copier) size() (n uint64) {
	for _, d := range c.disks() {
		n += d.Size
	}
	return n
}

func (c *copier) compared() (n uint64) {
	if c.state.Done {
		return c.size()
	}
	for _, d := range c.disks() {
		switch {
		case d.ID < c.state.Disk:
			n += d.Size
		case d.ID == c.state.Disk:
			n += min(d.Size, c.state.Next)
		}
	}
	return n
}

// Differing returns the bytes that differed so far, and whether that is what
// the copy is about.
func (c *copier) Differing() (bytes uint64, comparing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Copied, c.state.Resync != nil
}

// differing announces what differs from what the secondary has. It compares
// with the newest that is stored there, whole or not: what was shipped before
// an interruption is there, and is not shipped again. A block that is equal at
// the moment when it is read needs no copy record: whatever is written to it before or
// after is in the stream.
func (c *copier) differing(ctx context.Context, st copyState, q *queue) error {
	for ctx.Err() == nil {
		err := c.compareOn(ctx, &st, q)
		if !errors.Is(err, redoubt.ErrUnavailable) {
			return err
		}
		c.group.log.Warn("the comparison with the secondary is interrupted", "err", err, "hint", redoubt.Hint(err))
		pause(ctx, retryAfter)
	}
	return ctx.Err()
}

// compareOn compares from st on, over one connection, and moves st on.
func (c *copier) compareOn(ctx context.Context, st *copyState, q *queue) error {
	g := c.group
	client, err := g.dialCompare(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	d := compare.Differ{Client: client, Group: g.cfg.Name, UUID: g.uuid(), Disks: g.disks, Rate: g.cfg.CompareRate}
	if err := d.Open(); err != nil {
		return err
	}
	for _, disk := range c.disks() {
		if disk.ID < st.Disk {
			continue
		}
		from := uint64(0)
		if disk.ID == st.Disk {
			from = st.Next
		}
		err := d.Each(ctx, disk, from, func(found []redoubt.Extent, upTo uint64) error {
			// What was read may be newer than what is durable. Where it is equal nothing
			// is shipped that would say so; so it must not be lost.
			if err := g.flush(g.journal.Head().LSN); err != nil {
				return err
			}
			for _, e := range found {
				if err := q.announce(ctx, disk.ID, e); err != nil {
					return err
				}
			}
			st.Disk, st.Next = disk.ID, upTo
			return q.passed(ctx, disk.ID, upTo)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// passed notes that everything of the disk below end is announced or equal.
func (q *queue) passed(ctx context.Context, d redoubt.DiskID, end uint64) error {
	lsn := redoubt.LSN(0)
	if n := len(q.ahead); n > 0 {
		lsn = q.ahead[n-1].lsn
	}
	q.ahead = append(q.ahead, announced{lsn, d, end, 0})
	q.saved += passCost
	return q.settle(ctx, q.c.group.host.room.share())
}

// passCost is what a window that was compared counts towards the next saving
// of the progress: 1 GiB of disk is compared again after a crash, at most.
const passCost = copySave / 16
