package ship

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// parcel is a delta and how far the journal must be durable before it may leave.
type parcel struct {
	delta  *Delta
	parts  [][]byte // its encoding
	syncTo redoubt.LSN
	b      *Builder // has the parts' memory
}

// settle is how long produce lets small writes gather before it looks again.
const settle = 2 * time.Millisecond

// produce makes deltas from start on, as the window allows.
func (x *session) produce(start redoubt.LSN, made chan<- parcel) error {
	p := &producer{x: x, next: start}
	defer p.letGo()
	for {
		select {
		case <-x.free:
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
		out, err := p.delta()
		if err != nil {
			if x.ctx.Err() != nil {
				return context.Cause(x.ctx)
			}
			return err
		}
		select {
		case made <- out:
		case <-x.ctx.Done():
			out.b.release()
			return context.Cause(x.ctx)
		}
	}
}

// producer reads the journal in order.
type producer struct {
	x       *session
	next    redoubt.LSN
	pending []redoubt.Write // read and not yet in a delta
	room    []redoubt.Write // where pending lies
	done    func()          // gives the memory of pending back
	hot     bool            // that memory is a writer's, who may wait for it
	last    time.Time       // when the last delta was made
}

// delta waits for a record and returns a delta that begins with it. It is closed
// when it is full, or when MaxDelay has passed since the delta before: so an
// idle group's write leaves at once, and a busy group's writes leave together.
func (p *producer) delta() (parcel, error) {
	s := p.x.s
	codec, _ := s.meter.state()
	s.comp.SetCodec(codec)
	b := NewBuilder(p.x.hello.Group, p.x.hello.Epoch, s.comp)
	var syncTo redoubt.LSN
	due := p.last.Add(s.o.MaxDelay)
	for {
		if err := p.leap(b); err != nil {
			return parcel{}, err
		}
		if err := p.fill(b); p.overtaken(err) {
			continue
		} else if err != nil {
			return parcel{}, err
		}
		for len(p.pending) > 0 && !full(b, &p.pending[0], s.o.MaxDelta) {
			w := &p.pending[0]
			if w.LSN != p.next {
				return parcel{}, &redoubt.Error{Op: "read journal", Object: w.LSN.String(), Err: fmt.Errorf("want LSN %d: %w", p.next, redoubt.ErrGap)}
			}
			to, err := p.add(b, w)
			if err != nil {
				return parcel{}, err
			}
			syncTo = max(syncTo, to, w.LSN)
			p.next++
			p.pending[0] = redoubt.Write{} // lets its data go
			p.pending = p.pending[1:]
		}
		syncTo = max(syncTo, p.next-1) // what was left out counts, too
		more := len(p.pending) > 0
		if !more || p.hot {
			p.letGo()
		}
		if more || b.weight() >= s.o.MaxDelta || !time.Now().Before(due) {
			break
		}
		if err := p.gather(due); err != nil {
			return parcel{}, err
		}
	}
	// Records that were read before this check belong to the session's epoch.
	if e := s.o.Journal.Epoch(); e != p.x.hello.Epoch {
		return parcel{}, &redoubt.Error{Op: "ship", Err: fmt.Errorf("the epoch changed to %d: %w", e, redoubt.ErrUnavailable)}
	}
	p.last = time.Now()
	d, parts, err := b.finish()
	return parcel{d, parts, syncTo, b}, err
}

// full reports whether w must wait for the next delta. The first record always fits.
func full(b *Builder, w *redoubt.Write, most int) bool {
	if b.Next() == 0 {
		return false
	}
	n := len(w.Data)
	if w.Kind == redoubt.KindCopy && n == 0 {
		n = int(min(w.Extent.Len, maxCopy))
	}
	return b.weight()+n > most || b.Entries() >= maxEntriesPerDelta
}

// fill reads records if none are pending. It waits for one only as long as b is
// empty.
func (p *producer) fill(b *Builder) error {
	if len(p.pending) > 0 {
		return nil
	}
	s := p.x.s
	if b.Next() == 0 {
		if s.o.Journal.Head().LSN < p.next {
			p.room = nil // there may be a thousand groups that rest
		}
		if err := s.o.Journal.Wait(p.x.ctx, p.next-1); err != nil {
			return fmt.Errorf("%w: %w", errJournal, err)
		}
	} else if s.o.Journal.Head().LSN < p.next {
		return nil
	}
	want := max(64<<10, s.o.MaxDelta-b.weight())
	var ws []redoubt.Write
	var done func()
	if s.o.Recent != nil {
		ws, done = s.o.Recent.Recent(p.room, p.next, want)
	}
	hot := done != nil
	if !hot {
		var err error
		if ws, done, err = p.x.cur.Lend(p.room, p.next, want); err != nil {
			return fmt.Errorf("%w: %w", errJournal, err)
		}
	}
	p.room, p.pending, p.done, p.hot = ws, ws, done, hot
	return nil
}

// letGo gives the memory of pending back. What of it is in no delta yet is asked
// for again.
func (p *producer) letGo() {
	if p.done != nil {
		clear(p.pending) // lets its data go
		p.done()
		p.done, p.pending = nil, nil
	}
}

// gather waits for more records, until due.
func (p *producer) gather(due time.Time) error {
	wait := min(settle, time.Until(due))
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.x.ctx.Done():
			return context.Cause(p.x.ctx)
		}
	}
	ctx, cancel := context.WithDeadline(p.x.ctx, due)
	defer cancel()
	err := p.x.s.o.Journal.Wait(ctx, p.next-1)
	if err != nil && (p.x.ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	return nil
}

// secure hands a delta on as soon as the journal cannot lose what is in it.
func (x *session) secure(made <-chan parcel, safe chan<- parcel) error {
	return x.each(made, func(p parcel) error {
		if err := x.s.o.Journal.Sync(x.ctx, p.syncTo); err != nil {
			p.b.release()
			return fmt.Errorf("%w: %w", errJournal, err)
		}
		select {
		case safe <- p:
			return nil
		case <-x.ctx.Done():
			p.b.release()
			return context.Cause(x.ctx)
		}
	})
}

// ship sends what is safe in the journal.
func (x *session) ship(safe <-chan parcel) error { return x.each(safe, x.send) }

// each calls fn for what comes, until the session ends or fn fails.
func (x *session) each(in <-chan parcel, fn func(parcel) error) error {
	for {
		select {
		case p := <-in:
			if err := fn(p); err != nil {
				return err
			}
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
	}
}

// send ships one delta.
func (x *session) send(p parcel) error {
	defer p.b.release()
	s, d := x.s, p.delta
	s.mu.Lock()
	s.inflight = append(s.inflight, shipped{d.Last, d.FirstTime, d.LastTime})
	s.st.Deltas++
	s.st.BytesWire += uint64(d.Size())
	s.st.BytesRaw += uint64(d.RawLen())
	s.mu.Unlock()
	begin := time.Now()
	if err := x.writeSummed(frameDelta, directorySum(d.raw, d.blocks), p.parts...); err != nil {
		return err
	}
	s.meter.wrote(d.Size(), time.Since(begin))
	return nil
}
