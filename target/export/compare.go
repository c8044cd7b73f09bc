package export

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/ship"
)

// reverseKey is where the instance's journal has the plan of a reverse
// replication by hashes: its comparison goes on after a restart.
const reverseKey = "reverse"

// compareAhead bounds the bytes that are announced and not at the old primary.
const compareAhead = 32 << 20

// unknown reports whether nobody knows what differs at the old primary: it
// holds a part of a copy, or its journal is not the one that wrote the history.
func (r *reverse) unknown(w *ship.Welcome) bool {
	known := r.p.m.o.Node.Catalog().Binding(r.p.Group).Journal
	return w.Unknown || known != "" && w.Journal != known
}

// hashedPlan begins a resynchronisation whose copy records are announced as
// the comparison finds them.
func (r *reverse) hashedPlan(w *ship.Welcome) (Resync, error) {
	head := r.p.journal.Head().LSN
	if err := r.cursor.Ack(head); err != nil {
		return Resync{}, err
	}
	plan := Resync{Peer: r.peer, Start: head + 1, OldHead: w.Committed, Journal: w.Journal, Hashed: true}
	return plan, r.savePlan(&plan)
}

func (r *reverse) savePlan(plan *Resync) error {
	b, err := json.Marshal(plan)
	if err != nil {
		return err
	}
	return r.p.journal.PutState(reverseKey, b)
}

// loadPlan returns the plan by hashes whose comparison is not complete, or nil.
func (p *production) loadPlan() (*Resync, error) {
	b, ok, err := p.journal.State(reverseKey)
	if err != nil || !ok {
		return nil, err
	}
	plan := new(Resync)
	if err := json.Unmarshal(b, plan); err != nil {
		return nil, &redoubt.Error{Op: "read the plan of the way back of", Object: string(p.Group), Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	return plan, nil
}

// comparing reports whether the plan is one whose comparison is not complete.
// The caller holds r.mu.
func (r *reverse) comparing() bool { return r.plan != nil && r.plan.Hashed && r.plan.Baseline == 0 }

// compareOn begins the comparison, if one is due and does not run.
func (r *reverse) compareOn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.comparing() || r.atIt {
		return
	}
	r.atIt = true
	r.wg.Go(r.compareAll)
}

// compareAll compares until everything is announced, over as many connections
// as it takes, or until the stream ends.
func (r *reverse) compareAll() {
	c := &comparison{r: r, ctx: r.ctx}
	for r.ctx.Err() == nil {
		err := c.run()
		if err == nil || r.ctx.Err() != nil {
			break
		}
		r.p.log.Warn("the comparison with the old primary is interrupted", "err", err, "hint", redoubt.Hint(err))
		r.p.wait(senderRetry)
	}
	r.mu.Lock()
	r.atIt = false
	r.mu.Unlock()
}

// comparison is how far a comparison is.
type comparison struct {
	r    *reverse
	ctx  context.Context
	disk redoubt.DiskID
	next uint64 // everything of disk below it is announced or equal

	ahead []aheadOf
	bytes uint64 // of ahead
}

// aheadOf is a copy record that is not at the old primary.
type aheadOf struct {
	lsn redoubt.LSN
	n   uint64
}

func (c *comparison) run() error {
	r, p := c.r, c.r.p
	ctx, cancel := context.WithTimeout(c.ctx, compareDial)
	conn, err := p.dialCompare(ctx, r.address())
	cancel()
	if err != nil {
		return err
	}
	client, err := compare.NewClient(c.ctx, conn)
	if err != nil {
		return err
	}
	defer client.Close()
	d := compare.Differ{Client: client, Group: p.Group, UUID: p.UUID, Disks: p.disks}
	if err := d.Open(); err != nil {
		return err
	}
	for _, disk := range p.Disks {
		if disk.ID < c.disk {
			continue
		}
		from := uint64(0)
		if disk.ID == c.disk {
			from = c.next
		}
		err := d.Each(c.ctx, disk, from, func(found []redoubt.Extent, upTo uint64) error {
			// Where it is equal nothing is shipped, so what was read must not be lost.
			if err := p.journal.Sync(c.ctx, p.journal.Head().LSN); err != nil {
				return err
			}
			for _, e := range found {
				if err := c.announce(disk.ID, e); err != nil {
					return err
				}
			}
			c.disk, c.next = disk.ID, upTo
			return nil
		})
		if err != nil {
			return err
		}
	}
	return c.finish()
}

const compareDial = 10 * time.Second

// announce puts a range that differs into the stream.
func (c *comparison) announce(d redoubt.DiskID, e redoubt.Extent) error {
	for !e.Empty() {
		if err := c.room(); err != nil {
			return err
		}
		n := min(e.Len, redoubt.MaxWriteData-e.Off%redoubt.MaxWriteData)
		ws := []redoubt.Write{{Disk: d, Kind: redoubt.KindCopy, Extent: redoubt.Extent{Off: e.Off, Len: n}}}
		if err := c.r.p.disks.AppendControl(ws); err != nil {
			return err
		}
		c.ahead, c.bytes = append(c.ahead, aheadOf{ws[0].LSN, n}), c.bytes+n
		e.Off, e.Len = e.Off+n, e.Len-n
		c.r.mu.Lock()
		c.r.plan.Bytes += n
		c.r.mu.Unlock()
	}
	return nil
}

// room waits until the old primary is not far behind what is announced.
func (c *comparison) room() error {
	for {
		acked := c.r.cursor.Acked()
		for len(c.ahead) > 0 && c.ahead[0].lsn <= acked {
			c.bytes, c.ahead = c.bytes-c.ahead[0].n, c.ahead[1:]
		}
		if c.bytes < compareAhead {
			return nil
		}
		if err := sleep(c.ctx, poll); err != nil {
			return err
		}
	}
}

// finish says from where on the old primary is whole.
func (c *comparison) finish() error {
	ws := []redoubt.Write{{Kind: redoubt.KindBaseline}}
	if err := c.r.p.disks.AppendControl(ws); err != nil {
		return err
	}
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	plan := *c.r.plan
	plan.Baseline = ws[0].LSN
	if err := c.r.savePlan(&plan); err != nil {
		return err
	}
	c.r.plan = &plan
	c.r.p.log.Info("the old primary is compared", "differed", plan.Bytes)
	return nil
}
