package source

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// A copier puts the disks' present content into the ordered stream, once,
// while clients go on writing: it appends copy records, which carry no
// payload, and the sender reads the disk when it ships them. It stays a
// bounded number of bytes ahead of what the secondary has acknowledged.
type copier struct {
	group *Group

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
	Zeros    bool           `json:"zeros,omitempty"` // holes are copied too: the history beneath may hold data there
}

const (
	copyKey = "copy"
	// copyExtent is the size of one copy record; its pieces fit into one write.
	copyExtent = redoubt.MaxWriteData
	// copyAhead bounds what is announced and not yet acknowledged.
	copyAhead = 32 << 20
	// copySave is how many bytes may be announced again after a crash.
	copySave = 64 << 20
	// ackPoll is how often the copier looks for acknowledgements.
	ackPoll = 20 * time.Millisecond
)

func openCopier(g *Group) (*copier, error) {
	c := &copier{group: g}
	b, ok, err := g.journal.State(copyKey)
	if err != nil {
		return nil, err
	}
	if ok {
		return c, json.Unmarshal(b, &c.state)
	}
	return c, c.restart(false)
}

// restart begins the copy of all disks from their first byte on. Nobody else
// uses the copier.
func (c *copier) restart(zeros bool) error {
	g := c.group
	st := copyState{Zeros: zeros}
	for _, d := range g.id.Disks {
		for e, more := c.next(d, 0, zeros); more; e, more = c.next(d, e.End(), zeros) {
			st.Total += e.Len
		}
	}
	if len(g.id.Disks) > 0 {
		st.Disk = g.id.Disks[0].ID
	}
	c.mu.Lock()
	c.state = st
	c.mu.Unlock()
	return c.save()
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
	b, err := json.Marshal(c.state)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return c.group.journal.PutState(copyKey, b)
}

// Progress returns bytes copied, bytes to copy, and whether the baseline is complete.
func (c *copier) Progress() (done, total uint64, complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
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

// announced is a copy record that is in the journal and not yet acknowledged.
type announced struct {
	lsn  redoubt.LSN
	disk redoubt.DiskID
	end  uint64
	n    uint64
}

// run copies what is left, until it is complete or ctx is done.
func (c *copier) run(ctx context.Context) error {
	c.mu.Lock()
	st := c.state
	c.mu.Unlock()
	cursor := c.group.secondary()
	if st.Done || cursor == nil {
		return nil
	}
	var (
		ahead   []announced
		pending uint64
		saved   uint64
	)
	settle := func(limit uint64) error {
		for {
			acked := cursor.Acked()
			for len(ahead) > 0 && ahead[0].lsn <= acked {
				a := ahead[0]
				ahead, pending, saved = ahead[1:], pending-a.n, saved+a.n
				if a.disk == 0 { // the baseline
					continue
				}
				c.mu.Lock()
				c.state.Disk, c.state.Next, c.state.Copied = a.disk, a.end, c.state.Copied+a.n
				c.mu.Unlock()
			}
			if saved >= copySave {
				if err := c.save(); err != nil {
					return err
				}
				saved = 0
			}
			if pending <= limit {
				return nil
			}
			if pause(ctx, ackPoll); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	for _, d := range c.group.id.Disks {
		if d.ID < st.Disk {
			continue
		}
		from := uint64(0)
		if d.ID == st.Disk {
			from = st.Next
		}
		for e, more := c.next(d, from, st.Zeros); more; e, more = c.next(d, from, st.Zeros) {
			if err := settle(copyAhead); err != nil {
				return err
			}
			e.Len = min(e.Len, copyExtent-e.Off%copyExtent)
			w := []redoubt.Write{{Disk: d.ID, Kind: redoubt.KindCopy, Extent: e}}
			if err := c.group.disks.AppendControl(w); err != nil {
				return err
			}
			ahead = append(ahead, announced{w[0].LSN, d.ID, e.End(), e.Len})
			pending += e.Len
			from = e.End()
		}
	}
	w := []redoubt.Write{{Kind: redoubt.KindBaseline}}
	if err := c.group.disks.AppendControl(w); err != nil {
		return err
	}
	c.mu.Lock()
	c.announced = true
	c.mu.Unlock()
	ahead, pending = append(ahead, announced{lsn: w[0].LSN, n: 1}), pending+1
	if err := settle(0); err != nil {
		return err
	}
	c.mu.Lock()
	c.state.Done, c.state.Baseline, c.state.Copied = true, w[0].LSN, c.state.Total
	c.mu.Unlock()
	return c.save()
}
