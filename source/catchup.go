package source

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// catchUp brings what the journal has given up to the secondary. It announces
// the dirty blocks by copy records, as the copier does, and the sender reads the
// disks when it ships them. A baseline record behind the last of them ends the
// gap: from there on there are points again.
type catchUp struct {
	group *Group
	kick  chan struct{} // asks track for a round

	ahead   []announced // not acknowledged yet, in order
	pending uint64      // bytes of these
	unsaved uint64      // bytes announced that the dirty map's file does not know of
	savedAt time.Time
	serial  uint64 // of the gap when everything unshipped was given up last
	stream  uint64 // the same: number of the sender's stream
}

const (
	// catchUpPoll is how often it looks for a gap, a stream, acknowledgements.
	catchUpPoll = 20 * time.Millisecond
	// announceBytes and announceMost bound the copy records of one append: a
	// page of the journal holds about so many.
	announceBytes = 4 << 20
	announceMost  = 64
	// saveBytes and saveEvery bound what is announced again after a crash.
	saveBytes = 16 << 20
	saveEvery = time.Second
)

func newCatchUp(g *Group) *catchUp {
	return &catchUp{group: g, kick: make(chan struct{}, 1)}
}

// run catches up whenever there is a gap and a stream, until ctx is done.
func (c *catchUp) run(ctx context.Context) {
	c.ahead, c.pending, c.stream = nil, 0, 0
	var complained time.Time
	for ctx.Err() == nil {
		busy, err := c.step()
		if err != nil && ctx.Err() == nil && !errors.Is(err, redoubt.ErrClosed) && time.Since(complained) > complainEvery {
			complained = time.Now()
			c.group.log.Error("catching up stopped; it is tried again", "err", err, "hint", redoubt.Hint(err))
		}
		if !busy || err != nil {
			pause(ctx, catchUpPoll)
		}
	}
}

// step does one piece of work and reports whether there may be more at once.
func (c *catchUp) step() (busy bool, err error) {
	j := c.group.journal
	gap, ok := j.Gap()
	if !ok {
		c.ahead, c.pending, c.unsaved, c.stream = nil, 0, 0, 0
		return false, nil
	}
	stream, cur := c.connected(), c.group.secondary()
	if stream == 0 || cur == nil {
		return false, nil
	}
	switch {
	case stream != c.stream: // the sender has folded what was not shipped
		c.stream, c.serial, c.ahead, c.pending = stream, gap.Serial, nil, 0
		c.group.log.Info("catching up", "after", gap.From, "up_to", gap.UpTo, "bytes", gap.Dirty)
	case gap.Serial != c.serial:
		return true, c.fold(cur)
	}
	c.settle(cur.Acked())
	if c.unsaved >= saveBytes || c.unsaved > 0 && time.Since(c.savedAt) > saveEvery {
		c.unsaved, c.savedAt = 0, time.Now()
		if err := j.SaveGap(); err != nil {
			return false, err
		}
		return true, nil
	}
	switch {
	case c.pending >= copyAhead:
		return false, nil
	case gap.Dirty > 0:
		return true, c.announce()
	case !c.group.copy.complete() || gap.Marker > cur.Acked():
		return false, nil
	}
	return false, c.mark(gap)
}

// connected returns the number of the stream that is open, 0 if there is none
// whose receiver knows of the gap.
func (c *catchUp) connected() uint64 {
	g := c.group
	g.mu.Lock()
	s := g.sender
	g.mu.Unlock()
	if s == nil {
		return 0
	}
	if st := s.Status(); st.Connected && st.Gap {
		return st.Connects
	}
	return 0
}

// fold gives up everything that is not shipped, after the journal has become full
// once more: what is overwritten meanwhile is shipped once.
func (c *catchUp) fold(cur *journal.Cursor) error {
	g := c.group
	if err := cur.GiveUp(g.journal.Head().LSN); err != nil {
		return err
	}
	if gap, ok := g.journal.Gap(); ok {
		c.serial, c.ahead, c.pending = gap.Serial, nil, 0
		g.log.Info("the journal overflowed again while catching up", "up_to", gap.UpTo, "bytes", gap.Dirty)
	}
	return nil
}

// settle drops what is acknowledged.
func (c *catchUp) settle(acked redoubt.LSN) {
	for len(c.ahead) > 0 && c.ahead[0].lsn <= acked {
		c.pending -= c.ahead[0].n
		c.ahead = c.ahead[1:]
	}
}

// announce appends copy records for the first dirty blocks. They leave the map
// before: if they are given up once more, that puts them back.
func (c *catchUp) announce() error {
	j := c.group.journal
	var ws []redoubt.Write
	bytes := uint64(0)
	for _, d := range c.group.gone() { // no point will have what these lack
		j.Announced(d.ID, redoubt.Extent{Len: d.Size})
	}
	for _, d := range c.group.Disks() {
		from := uint64(0)
		for len(ws) < announceMost && bytes < announceBytes {
			e, ok := j.NextDirty(d.ID, from, copyExtent)
			if !ok {
				break
			}
			from = e.End()
			j.Announced(d.ID, e)
			if e.Off >= d.Size {
				continue
			}
			e.Len = min(e.Len, d.Size-e.Off)
			ws = append(ws, redoubt.Write{Disk: d.ID, Kind: redoubt.KindCopy, Extent: e})
			bytes += e.Len
		}
	}
	if len(ws) == 0 {
		return nil
	}
	if err := c.group.disks.AppendControl(ws); err != nil {
		for i := range ws {
			j.Unannounced(ws[i].Disk, ws[i].Extent)
		}
		return err
	}
	c.ahead = append(c.ahead, announced{lsn: ws[len(ws)-1].LSN, n: bytes})
	c.pending, c.unsaved = c.pending+bytes, c.unsaved+bytes
	return nil
}

// mark appends the record that ends the gap.
func (c *catchUp) mark(gap journal.Gap) error {
	w := []redoubt.Write{{Kind: redoubt.KindBaseline}}
	if err := c.group.disks.AppendControl(w); err != nil {
		return err
	}
	c.group.journal.Mark(w[0].LSN, gap.Serial)
	return nil
}
