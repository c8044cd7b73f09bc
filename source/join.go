package source

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

const joinKey = "join"

// openJoiner opens the copier of the disk that is being added. It copies as the
// first copy does, and ends with a record that says that the disk has joined, in
// place of a baseline: points are made of the other disks all the time.
func openJoiner(g *Group) (*copier, error) {
	c := &copier{group: g, key: joinKey}
	c.disks = func() []redoubt.Disk {
		c.mu.Lock()
		at := c.state.Disk
		c.mu.Unlock()
		for _, d := range g.Disks() {
			if d.ID == at {
				return []redoubt.Disk{d}
			}
		}
		return nil
	}
	st, _, err := loadCopyState(g.journal, c.key)
	c.state = st
	return c, err
}

// settleJoin copies a disk that is being added, says that it has joined, and sees
// that the secondary knows it. It waits until the group itself is copied.
func (g *Group) settleJoin(ctx context.Context, id redoubt.DiskID) error {
	if _, _, whole := g.copy.Progress(); !whole {
		return nil
	}
	c := g.adds
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	if st.Disk != id || st.Epoch != g.journal.Epoch() {
		// A tail of an epoch before may hold its end: then it has joined.
		if err := g.confirm(ctx, g.journal.Head().LSN); err != nil || !g.isJoining(id) {
			return err
		}
		if err := c.begin(id, st.Disk == id); err != nil {
			return err
		}
		crashpoint.Here("source.join.begun")
	}
	return c.join(ctx)
}

// begin forgets what was copied. Beneath what was copied in an epoch before, holes
// must be shipped as zeros.
func (c *copier) begin(id redoubt.DiskID, zeros bool) error {
	c.mu.Lock()
	c.state = copyState{Disk: id}
	c.mu.Unlock()
	st := c.plan(zeros)
	st.Disk, st.Epoch = id, c.group.journal.Epoch()
	c.mu.Lock()
	c.state = st
	c.mu.Unlock()
	return c.save()
}

// join goes on with the copy.
func (c *copier) join(ctx context.Context) error {
	g := c.group
	cursor := g.secondary()
	disks := c.disks()
	if cursor == nil || len(disks) == 0 {
		return nil
	}
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	if st.Told == 0 {
		leave := g.host.room.enter()
		q := &queue{c: c, cursor: cursor}
		err := c.everything(ctx, st, q)
		if err == nil {
			err = q.settle(ctx, 0)
		}
		leave()
		if err != nil {
			return err
		}
		crashpoint.Here("source.join.copied")
		if !g.isJoining(disks[0].ID) {
			return nil // removed meanwhile
		}
		w := []redoubt.Write{{Disk: disks[0].ID, Kind: redoubt.KindJoin, Extent: redoubt.Extent{Off: disks[0].Size}}}
		if err := g.disks.AppendControl(w); err != nil {
			return err
		}
		st.Told = w[0].LSN
		if err := c.tell(st.Told); err != nil {
			return err
		}
		crashpoint.Here("source.join.told")
	}
	if err := g.confirm(ctx, st.Told); err != nil || !g.isJoining(disks[0].ID) {
		return err
	}
	return c.tell(0) // the journal overflowed and gave the record up: again
}

// tell keeps where it was said that the disk has joined; 0: it is said again.
func (c *copier) tell(at redoubt.LSN) error {
	c.mu.Lock()
	c.state.Told = at
	if at != 0 {
		c.state.Copied = c.state.Total
	}
	c.mu.Unlock()
	return c.save()
}
