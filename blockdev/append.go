package blockdev

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// pieceCost is what a write costs in memory beyond its data, in bytes, roughly.
const pieceCost = 224

// fullPoll is how often a writer that found the journal full looks again: the
// journal trims when the secondary acknowledges, of which the group hears nothing.
const fullPoll = 5 * time.Millisecond

// submission is a run of writes that enter the group's order together.
type submission struct {
	ws []redoubt.Write
	// prepare, if not nil, completes ws from the disks' content. It runs inside
	// the order, perhaps several times.
	prepare func([]redoubt.Write) error
	replica bool // keep LSN and time, of epoch
	epoch   redoubt.Epoch
	control bool            // allowed while clients may not write
	ctx     context.Context // ends waiting for room; nil: it never ends
}

// quit is closed when waiting makes no sense any more.
func (s *submission) quit() <-chan struct{} {
	if s.ctx == nil {
		return nil
	}
	return s.ctx.Done()
}

// submit puts the writes into the journal and over the disks. The data of ws is
// kept until it is applied, and must not change until then. On an error nothing
// was journaled.
func (g *Group) submit(s submission) error {
	var need int64
	for i := range s.ws {
		need += cost(&s.ws[i])
	}
	var giveUp <-chan time.Time
	var lag redoubt.LSN
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if err := g.admit(&s, need); err != nil {
			return err
		}
		if s.prepare != nil {
			if err := s.prepare(s.ws); err != nil {
				return err
			}
		}
		var err error
		if s.replica {
			err = g.j.AppendReplica(s.epoch, s.ws)
		} else {
			err = g.j.Append(s.ws)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, redoubt.ErrJournalFull) {
			return err
		}
		if g.o.OnFull != nil {
			g.o.OnFull()
		}
		if giveUp == nil {
			lag = g.head // what of the journal only waits for our own disks
			t := time.NewTimer(g.o.FullWait)
			defer t.Stop()
			giveUp = t.C
		}
		if g.applied < lag && g.failed == nil {
			if !g.waitFull(nil, s.quit()) {
				return err
			}
			continue
		}
		if !g.waitFull(giveUp, s.quit()) {
			return err
		}
	}
	for i := range s.ws {
		g.insert(&s.ws[i])
		if d := g.byID[s.ws[i].Disk]; d != nil {
			d.count.wrote(&s.ws[i])
		}
	}
	if g.active >= g.o.MemoryLimit/4 {
		g.kickApplier()
	}
	return nil
}

// admit returns when there is memory for need more bytes, or an error if the
// submission is not allowed. The caller holds g.mu, which is let go in between.
func (g *Group) admit(s *submission, need int64) error {
	for {
		switch {
		case g.closed:
			return &redoubt.Error{Op: "write", Err: redoubt.ErrClosed}
		case g.failed != nil:
			return g.failed
		case g.readOnly != nil && !s.replica && !s.control:
			return g.readOnly
		case !s.replica && !s.control && g.expired():
			return g.expiry.err
		case !s.replica && !s.control && g.removed(s.ws):
			return &redoubt.Error{Op: "write", Err: redoubt.ErrNotFound, Hint: "the disk was removed from its group"}
		case g.stopped > 0:
		case g.holds > 0 && !s.replica && !s.control:
		case g.used == 0 || g.used+need <= g.o.MemoryLimit:
			return nil
		default:
			g.kickApplier()
		}
		g.waiting++
		changed := g.changed
		g.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-s.quit():
			err = &redoubt.Error{Op: "wait for memory", Err: s.ctx.Err()}
		}
		g.mu.Lock()
		g.waiting--
		if err != nil {
			return err
		}
	}
}

// waitFull waits until the journal may have room, or reports false at giveUp.
// The caller holds g.mu, which is let go in between.
func (g *Group) waitFull(giveUp <-chan time.Time, quit <-chan struct{}) bool {
	g.kickApplier() // perhaps our own lag holds the segments
	g.kickSyncer()
	g.waiting++
	changed := g.changed
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.waiting--
	}()
	poll := time.NewTimer(fullPoll)
	defer poll.Stop()
	select {
	case <-changed:
	case <-poll.C:
	case <-giveUp:
		return false
	case <-quit:
		return false
	}
	return true
}

// insert lays a journaled write over its disk. The caller holds g.mu.
func (g *Group) insert(w *redoubt.Write) {
	g.head = w.LSN
	g.recent.add(w)
	if g.since.active == 0 {
		g.since.active = max(1, g.clock())
	}
	d := g.byID[w.Disk]
	n := cost(w)
	if d == nil || n == 0 {
		return
	}
	d.put(w)
	g.active += n
	g.used += n
}

// cost is the memory that w holds until it is applied, in bytes.
func cost(w *redoubt.Write) int64 {
	switch {
	case w.Kind == redoubt.KindWrite, w.Kind.Zeroes(), w.Kind == redoubt.KindCopy && len(w.Data) > 0:
		return pieceCost + int64(len(w.Data))
	}
	return 0
}

// check tells whether w, which comes from the journal or from the other site, fits its disk.
func (g *Group) check(w *redoubt.Write) error {
	if !w.Kind.Valid() {
		return &redoubt.Error{Op: "take write", Object: w.LSN.String(), Err: fmt.Errorf("%s: %w", w.Kind, redoubt.ErrInvalid)}
	}
	if w.Kind.Shapes() {
		return g.checkShape(w)
	}
	if w.Kind == redoubt.KindBaseline || w.Kind == redoubt.KindBookmark {
		return nil
	}
	if _, err := g.disk("take write", w.Disk, w.Extent); err != nil {
		return err
	}
	if (w.Kind == redoubt.KindWrite || len(w.Data) > 0) && uint64(len(w.Data)) != w.Extent.Len {
		return &redoubt.Error{Op: "take write", Object: w.LSN.String(),
			Err: fmt.Errorf("%d bytes for %s: %w", len(w.Data), w.Extent, redoubt.ErrInvalid)}
	}
	return nil
}

// replicaBatch bounds the data that Replicate gives to the journal at once.
const replicaBatch = 4 << 20

// Replicate takes writes that another writer ordered: they keep LSN and time,
// continue the journal's head and belong to epoch e. Data is copied. A copy
// record with data is applied like a write, one without changes nothing; the
// parts of one copied extent may share an LSN. It is allowed while clients may not write. On an error a prefix of ws may have been
// taken: the journal's head says how much.
func (g *Group) Replicate(e redoubt.Epoch, ws []redoubt.Write) error {
	for i := range ws {
		if err := g.check(&ws[i]); err != nil {
			return err
		}
	}
	for len(ws) > 0 {
		n, bytes := 0, 0
		for n < len(ws) && (n == 0 || ws[n].LSN == ws[n-1].LSN || n < batchWrites && bytes+len(ws[n].Data) <= replicaBatch) {
			bytes += len(ws[n].Data)
			n++
		}
		own, buf := slices.Clone(ws[:n]), make([]byte, 0, bytes)
		for i := range own {
			at := len(buf)
			buf = append(buf, own[i].Data...)
			if own[i].Data != nil {
				own[i].Data = buf[at:len(buf):len(buf)]
			}
		}
		if err := g.submit(submission{ws: own, replica: true, epoch: e}); err != nil {
			return err
		}
		ws = ws[n:]
	}
	return nil
}

// AppendControl puts records that change no disk (KindCopy, KindBaseline,
// KindBookmark, what shapes a disk) into the order; it fills in their LSN and Time. It is allowed
// while clients may not write, so that a quiesced group can be marked.
func (g *Group) AppendControl(ws []redoubt.Write) error {
	for i := range ws {
		w := &ws[i]
		if w.Kind == redoubt.KindWrite || w.Kind.Zeroes() || w.Kind == redoubt.KindCopy && len(w.Data) > 0 {
			return &redoubt.Error{Op: "append control record", Object: w.Kind.String(), Err: redoubt.ErrInvalid}
		}
		if err := g.check(w); err != nil {
			return err
		}
	}
	return g.submit(submission{ws: ws, control: true})
}

// AppendMark puts a bookmark into the order, also while clients may not write or are held
// back; it fills in LSN and Time. ready, if not nil, is asked inside the order: if it
// returns an error nothing was journaled, and otherwise no write of a client comes between its answer and
// the bookmark. It must not use the group. ctx ends waiting for room.
func (g *Group) AppendMark(ctx context.Context, b redoubt.Bookmark, ready func() error) (redoubt.Write, error) {
	data := b.Encode()
	ws := []redoubt.Write{{Kind: redoubt.KindBookmark, Data: data, CRC: redoubt.Checksum(data)}}
	s := submission{ws: ws, control: true, ctx: ctx}
	if ready != nil {
		s.prepare = func([]redoubt.Write) error { return ready() }
	}
	err := g.submit(s)
	return ws[0], err
}

// acknowledged returns the last LSN that a client may have an answer to: what a
// flush that has come covers.
func (g *Group) acknowledged() redoubt.LSN {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.head
}

// flush makes every write of every connection up to an acknowledged one durable.
func (g *Group) flush(ctx context.Context, upTo redoubt.LSN) error {
	if err := g.Err(); err != nil {
		return err
	}
	return g.j.Sync(ctx, upTo)
}
