package source

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// A copier puts the disks' present content, or what of it differs from the
// secondary, into the ordered stream, once,
// while clients go on writing: it appends copy records, which carry no
// payload, and the sender reads the disk when it ships them. It stays a
// bounded number of bytes ahead of what the secondary has acknowledged.
type copier struct {
	group *Group
	key   string                // of its state
	disks func() []redoubt.Disk // what it copies, by rising number

	mu        sync.Mutex
	state     copyState
	announced bool // everything, with the baseline
}

// copyState is the durable progress, kept in the journal's state.
type copyState struct {
	Done     bool           `json:"done"`
	Disk     redoubt.DiskID `json:"disk"`   // the disk being copied
	Next     uint64         `json:"next"`   // everything of Disk below it is safe at the secondary
	Copied   uint64         `json:"copied"` // bytes announced and acknowledged, holes not counted
	Total    uint64         `json:"total"`  // bytes that held data when the copy began
	Baseline redoubt.LSN    `json:"baseline,omitempty"`
	Epoch    redoubt.Epoch  `json:"epoch,omitempty"` // in which a disk is added
	Told     redoubt.LSN    `json:"told,omitempty"`  // where it was said to have joined
	Zeros    bool           `json:"zeros,omitempty"` // holes are copied too: the history beneath may hold data there
	// Resync, if not nil, says that only what differs from its base is copied.
	Resync *resyncState `json:"resync,omitempty"`
}

const (
	copyKey = "copy"
	// copyExtent is the size of one copy record; its pieces fit into one write.
	copyExtent = redoubt.MaxWriteData
	// copySave is how many bytes may be announced again after a crash.
	copySave = 64 << 20
	// ackPoll is how often the copier looks for acknowledgements that it was not
	// told of.
	ackPoll = 20 * time.Millisecond
)

func loadCopyState(j *journal.Journal, key string) (st copyState, ok bool, err error) {
	b, ok, err := j.State(key)
	if err != nil || !ok {
		return st, false, err
	}
	return st, true, json.Unmarshal(b, &st)
}

func openCopier(g *Group) (*copier, error) {
	c := &copier{group: g, key: copyKey, disks: g.members}
	st, ok, err := loadCopyState(g.journal, c.key)
	if err != nil || ok {
		c.state = st
		return c, err
	}
	return c, c.restart(false)
}

// restart begins the copy of all disks from their first byte on. Nobody else
// uses the copier.
func (c *copier) restart(zeros bool) error {
	st := c.plan(zeros)
	c.mu.Lock()
	c.state = st
	c.mu.Unlock()
	return c.save()
}

// plan is the state of a copy that has not begun.
func (c *copier) plan(zeros bool) copyState {
	disks := c.disks()
	st := copyState{Zeros: zeros}
	for _, d := range disks {
		for e, more := c.next(d, 0, zeros); more; e, more = c.next(d, e.End(), zeros) {
			st.Total += e.Len
		}
	}
	if len(disks) > 0 {
		st.Disk = disks[0].ID
	}
	return st
}

// next returns what is to be copied next of a disk, from an offset on.
func (c *copier) next(d redoubt.Disk, from uint64, zeros bool) (redoubt.Extent, bool) {
	if zeros {
		return redoubt.Extent{Off: from, Len: d.Size - from}, from < d.Size
	}
	return c.group.disks.NextData(d.ID, from)
}

func (c *copier) save() error {
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	return c.group.putState(c.key, st)
}

// Progress returns bytes copied, bytes to copy, and whether the baseline is complete.
func (c *copier) Progress() (done, total uint64, complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Resync != nil {
		return c.compared(), c.size(), c.state.Done
	}
	return min(c.state.Copied, c.state.Total), c.state.Total, c.state.Done
}

// baseline returns the last record of the copy, 0 until it is complete, and
// whether the copy follows an older history.
func (c *copier) baseline() (at redoubt.LSN, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Baseline, c.state.Zeros
}

// complete reports whether nothing is left to be announced.
func (c *copier) complete() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.announced || c.state.Done
}

// announced is a copy record that is in the journal and not yet acknowledged,
// or, with n 0, the end of a stretch without one.
type announced struct {
	lsn  redoubt.LSN
	disk redoubt.DiskID // 0: the baseline
	end  uint64
	n    uint64
}

// queue is what a copier has announced.
type queue struct {
	c       *copier
	cursor  *journal.Cursor
	ahead   []announced
	pending uint64 // bytes of ahead
	saved   uint64 // bytes that were passed since the progress was saved
}

// settle waits until at most limit bytes are not acknowledged, and keeps the progress.
func (q *queue) settle(ctx context.Context, limit uint64) error {
	c := q.c
	for {
		acked := q.cursor.Acked()
		for len(q.ahead) > 0 && q.ahead[0].lsn <= acked {
			a := q.ahead[0]
			q.ahead, q.pending, q.saved = q.ahead[1:], q.pending-a.n, q.saved+a.n
			if a.disk == 0 { // the baseline
				continue
			}
			c.mu.Lock()
			c.state.Disk, c.state.Next, c.state.Copied = a.disk, a.end, c.state.Copied+a.n
			c.mu.Unlock()
		}
		if q.saved >= copySave {
			if err := c.save(); err != nil {
				return err
			}
			q.saved = 0
		}
		if q.pending <= limit {
			return nil
		}
		if c.group.awaitAck(ctx); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// noteAck tells the copier that the secondary has acknowledged something.
func (g *Group) noteAck() {
	select {
	case g.acked <- struct{}{}:
	default: // it is told already
	}
}

// awaitAck returns when there may be an acknowledgement.
func (g *Group) awaitAck(ctx context.Context) {
	t := time.NewTimer(ackPoll)
	defer t.Stop()
	select {
	case <-g.acked:
	case <-t.C:
	case <-ctx.Done():
	}
}

// announce puts the extent into the ordered stream, in pieces.
func (q *queue) announce(ctx context.Context, d redoubt.DiskID, e redoubt.Extent) error {
	for !e.Empty() {
		if err := q.settle(ctx, q.c.group.host.room.share()); err != nil {
			return err
		}
		x := redoubt.Extent{Off: e.Off, Len: min(e.Len, copyExtent-e.Off%copyExtent)}
		w := []redoubt.Write{{Disk: d, Kind: redoubt.KindCopy, Extent: x}}
		if err := q.c.group.disks.AppendControl(w); err != nil {
			return err
		}
		q.ahead, q.pending = append(q.ahead, announced{w[0].LSN, d, x.End(), x.Len}), q.pending+x.Len
		e = redoubt.Extent{Off: x.End(), Len: e.Len - x.Len}
	}
	return nil
}

// run copies what is left, until it is complete or ctx is done.
func (c *copier) run(ctx context.Context) error {
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	cursor := c.group.secondary()
	if st.Done && st.Resync != nil {
		c.group.verifyMended(st.Resync.Epoch)
	}
	if st.Done || cursor == nil || st.Resync != nil && st.Resync.Epoch != c.group.journal.Epoch() {
		return nil // the journal is of another epoch: the secondary says what to do
	}
	defer c.group.host.room.enter()()
	q := &queue{c: c, cursor: cursor}
	each := c.everything
	if st.Resync != nil {
		each = c.differing
	}
	if err := each(ctx, st, q); err != nil {
		return err
	}
	if err := c.group.tellLeaving(); err != nil {
		return err
	}
	w := []redoubt.Write{{Kind: redoubt.KindBaseline}}
	if err := c.group.disks.AppendControl(w); err != nil {
		return err
	}
	c.mu.Lock()
	c.announced = true
	c.mu.Unlock()
	q.ahead, q.pending = append(q.ahead, announced{lsn: w[0].LSN, n: 1}), q.pending+1
	if err := q.settle(ctx, 0); err != nil {
		return err
	}
	c.mu.Lock()
	c.state.Done, c.state.Baseline = true, w[0].LSN
	if st.Resync == nil {
		c.state.Copied = c.state.Total
	}
	c.mu.Unlock()
	if err := c.save(); err != nil {
		return err
	}
	if st.Resync != nil {
		c.group.verifyMended(st.Resync.Epoch)
	}
	return nil
}

// everything announces all that the disks hold.
func (c *copier) everything(ctx context.Context, st copyState, q *queue) error {
	for _, d := range c.disks() {
		if d.ID < st.Disk {
			continue
		}
		from := uint64(0)
		if d.ID == st.Disk {
			from = st.Next
		}
		for e, more := c.next(d, from, st.Zeros); more; e, more = c.next(d, from, st.Zeros) {
			e.Len = min(e.Len, copyExtent-e.Off%copyExtent)
			if err := q.announce(ctx, d.ID, e); err != nil {
				return err
			}
			from = e.End()
		}
	}
	return nil
}
