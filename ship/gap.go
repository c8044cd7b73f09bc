package ship

import (
	"errors"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// gapState is what a session knows of a gap: a stretch for which the journal
// has given up records. The stream leaves them out; what they changed comes in
// copy records, in any order, and a baseline ends it. See DESIGN.md, "Gap".
type gapState struct {
	mu     sync.Mutex
	open   bool        // there are no points at the receiver at present
	marker redoubt.LSN // the baseline that ends the gap; 0 until it is built
}

// errOverflow ends a session whose receiver does not know of the gap yet: the
// next Hello tells it.
var errOverflow = errors.New("the journal gave up records that were not shipped")

// meet compares what the journal has given up with what the receiver says.
func (x *session) meet(gap journal.Gap, exists bool, w Welcome) error {
	if x.hello.Reverse {
		return nil
	}
	x.gap.open = w.Gap
	x.s.update(func(st *SenderStatus) { st.Gap = w.Gap })
	switch {
	case w.Gap && !exists:
		return &redoubt.Error{Op: "resume shipping of", Object: string(x.hello.Group), Err: fmt.Errorf("the receiver waits for the end of a gap of which this journal knows nothing: %w", redoubt.ErrGap),
			Hint: "a resynchronisation is needed: the list of what changed was lost with an earlier journal"}
	case exists && !w.Gap && w.resume(x.hello.Epoch) >= gap.UpTo:
		// The acknowledgement of the end was lost.
		return x.closeGap(gap.Serial)
	}
	return nil
}

// fold gives up everything else that is not shipped, if there is a gap: there
// are no points before its end anyway, and a block that was written several
// times is shipped once. Heartbeats go on meanwhile.
func (x *session) fold(w Welcome) error {
	if !x.gapOpen() {
		return nil
	}
	// What has arrived is not given up, even if its acknowledgement was lost.
	head := x.s.o.Journal.Head().LSN
	err := x.cur.Ack(min(w.resume(x.hello.Epoch), head))
	if err == nil {
		err = x.cur.GiveUp(head)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	return nil
}

func (x *session) closeGap(serial uint64) error {
	closed, err := x.s.o.Journal.CloseGap(serial)
	if err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	if closed {
		x.s.o.Logger.Info("caught up after an overflow: there are points again", "group", x.hello.Group)
	}
	return nil
}

func (x *session) gapOpen() bool {
	x.gap.mu.Lock()
	defer x.gap.mu.Unlock()
	return x.gap.open
}

// settleGap closes the journal's gap once everything is safe at the receiver:
// the baseline that ends it, or, if the receiver never heard of it, what was
// given up while it was on its way.
func (x *session) settleGap(acked redoubt.LSN) error {
	j := x.s.o.Journal
	if up := j.GivenUp(); up == 0 || up > acked || x.hello.Reverse {
		return nil
	}
	x.gap.mu.Lock()
	due := !x.gap.open && acked >= x.gap.marker
	x.gap.mu.Unlock()
	gap, exists := j.Gap()
	if !due || !exists || gap.UpTo > acked {
		return nil
	}
	return x.closeGap(gap.Serial)
}

// leap leaves out what the journal has given up: those records have no entries.
func (p *producer) leap(b *Builder) error {
	j := p.x.s.o.Journal
	gap, exists := j.Gap()
	if !exists || gap.UpTo < p.next || p.x.hello.Reverse {
		return nil
	}
	if !p.x.gapOpen() {
		return &redoubt.Error{Op: "ship", Object: string(p.x.hello.Group), Err: fmt.Errorf("%w: %w", errOverflow, redoubt.ErrUnavailable)}
	}
	if err := b.Skip(p.next, gap.UpTo, gap.Since, gap.Until); err != nil {
		return err
	}
	p.next = gap.UpTo + 1
	for len(p.pending) > 0 && p.pending[0].LSN < p.next {
		p.pending[0] = redoubt.Write{}
		p.pending = p.pending[1:]
	}
	if len(p.pending) == 0 {
		p.letGo()
	}
	return nil
}

// overtaken reports whether err came of records that were given up, and
// trimmed, while they were being read.
func (p *producer) overtaken(err error) bool {
	return errors.Is(err, redoubt.ErrGap) && p.x.s.o.Journal.GivenUp() >= p.next
}

// add puts w into b. While there is a gap, a write to blocks that will be copied
// later is left out, and a baseline counts only if nothing is left to be copied.
func (p *producer) add(b *Builder, w *redoubt.Write) (redoubt.LSN, error) {
	s := p.x.s
	if !p.x.gapOpen() {
		return s.add(b, w, p.x.hello.Reverse)
	}
	switch {
	case w.Kind == redoubt.KindWrite, w.Kind.Zeroes():
		if s.o.Journal.DirtyCovers(w.Disk, w.Extent) {
			return w.LSN, b.Advance(w.LSN, w.Time)
		}
	case w.Kind == redoubt.KindBaseline:
		gap, exists := s.o.Journal.Gap()
		if !exists || !gap.Ends(w.LSN) {
			return w.LSN, b.Advance(w.LSN, w.Time)
		}
		p.x.gap.mu.Lock()
		p.x.gap.open, p.x.gap.marker = false, w.LSN
		p.x.gap.mu.Unlock()
		s.update(func(st *SenderStatus) { st.Gap = false })
	}
	return s.add(b, w, p.x.hello.Reverse)
}
