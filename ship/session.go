package ship

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
	"github.com/redoubt-dr/redoubt/journal"
)

// session is one connection of a Sender. Five goroutines work on it: produce
// makes deltas, secure waits until the journal cannot lose them, ship sends
// them, beat sends heartbeats, listen takes answers. The first that fails ends
// them all.
type session struct {
	s     *Sender
	cur   *journal.Cursor
	conn  net.Conn
	hello Hello
	out   *limitedWriter

	ctx  context.Context
	end  context.CancelCauseFunc
	wmu  sync.Mutex // one frame at a time on the wire
	wg   sync.WaitGroup
	free chan struct{} // window: a delta may be made for each token

	acked redoubt.LSN // owned by listen
	gap   gapState

	dirty      map[redoubt.DiskID][]redoubt.Extent // written by listen, read after dirtyDone
	dirtyCount int
	dirtyDone  chan struct{}
}

// session connects to addr and ships until something fails. accepted says that
// the receiver had opened a stream.
func (s *Sender) session(ctx context.Context, addr string, cur *journal.Cursor) (redirect string, accepted bool, err error) {
	s.update(func(st *SenderStatus) { st.Peer = addr })
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := s.o.Dial(dctx, addr)
	cancel()
	if err != nil {
		return "", false, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	h := s.o.Hello()
	j := s.o.Journal
	head := j.Head()
	h.Epoch, h.Head, h.HeadTime, h.Tail = head.Epoch, head.LSN, j.HeadTime(), j.Tail()
	h.Whole, h.Notices = s.o.Keep != "", s.o.OnNotice != nil
	gap, gave := j.Gap() // before the answer: what is given up later, the next Hello tells
	h.GivenUp = gap.UpTo
	w, err := exchange(conn, h)
	if err != nil {
		return "", false, err
	}
	if w.Epoch > h.Epoch {
		w.Fenced = true // whatever else it says: we are not the writer any more
	}
	if s.o.OnWelcome != nil {
		s.o.OnWelcome(w)
	}
	switch {
	case w.Lost != "", !w.Compare.IsZero() && w.Epoch > h.Epoch:
		return "", false, &LostError{Welcome: w}
	case w.Fenced:
		return "", false, &FencedError{Welcome: w}
	case w.Redirect != "":
		return w.Redirect, false, nil
	case !w.Accepted:
		return "", false, &redoubt.Error{Op: "ship to", Object: addr, Err: fmt.Errorf("no stream: %s: %w", w.Reason, redoubt.ErrUnavailable)}
	case w.Epoch < h.Epoch:
		return "", false, &redoubt.Error{Op: "ship to", Object: addr, Err: fmt.Errorf("receiver is still in epoch %d, we are in %d: %w", w.Epoch, h.Epoch, redoubt.ErrUnavailable)}
	}
	s.keep.begin(w.Whole)
	x := &session{s: s, cur: cur, conn: conn, hello: h, free: make(chan struct{}, s.o.Window), dirtyDone: make(chan struct{})}
	x.ctx, x.end = context.WithCancelCause(ctx)
	x.out = &limitedWriter{ctx: x.ctx, conn: conn, rate: s.o.RateLimit}
	defer x.end(nil)
	stop2 := context.AfterFunc(x.ctx, func() { conn.Close() })
	defer stop2()
	if err = x.meet(gap, gave, w); err == nil {
		x.run(w, addr)
		err = context.Cause(x.ctx)
	}
	s.mu.Lock()
	s.inflight = nil
	s.st.Connected, s.st.Gap = false, false
	s.mu.Unlock()
	return "", true, err
}

// run returns when all goroutines of the session have ended.
func (x *session) run(w Welcome, addr string) {
	x.goes(x.listen)
	x.goes(x.beat)
	if err := x.stream(w, addr); err != nil {
		x.end(err)
	}
	x.wg.Wait()
}

func (x *session) goes(fn func() error) {
	x.wg.Add(1)
	go func() {
		defer x.wg.Done()
		if err := fn(); err != nil {
			x.end(err)
		}
	}()
}

// stream finds out where to start, says so, and starts shipping.
func (x *session) stream(w Welcome, addr string) error {
	start, err := x.start(w)
	if err != nil {
		return err
	}
	s := x.s
	s.mu.Lock()
	s.inflight = nil
	s.st.Connected, s.st.LastError = true, nil
	s.st.Connects++
	s.st.Acked = redoubt.Position{Epoch: x.hello.Epoch, LSN: start - 1}
	s.mu.Unlock()
	if err := x.write(frameBegin, encodeNumbers(uint64(start))); err != nil {
		return err
	}
	s.o.Logger.Info("shipping", "peer", addr, "epoch", x.hello.Epoch, "from", start)
	for range s.o.Window {
		x.free <- struct{}{}
	}
	made, safe := make(chan parcel), make(chan parcel)
	x.goes(func() error { return x.produce(start, made) })
	x.goes(func() error { return x.secure(made, safe) })
	x.goes(func() error { return x.ship(safe) })
	return nil
}

// start returns the LSN to begin with, after checking that our journal has it.
func (x *session) start(w Welcome) (redoubt.LSN, error) {
	j := x.s.o.Journal
	fail := func(err error, hint string) (redoubt.LSN, error) {
		return 0, &redoubt.Error{Op: "resume shipping of", Object: string(x.hello.Group), Hint: hint, Err: err}
	}
	if err := x.fold(w); err != nil {
		return fail(err, "")
	}
	var start redoubt.LSN
	if w.Resync {
		if x.s.o.OnResync == nil {
			return fail(fmt.Errorf("the receiver wants a resynchronisation: %w", redoubt.ErrState), "")
		}
		select {
		case <-x.dirtyDone:
		case <-x.ctx.Done():
			return 0, context.Cause(x.ctx)
		}
		var err error
		if start, err = x.s.o.OnResync(x.ctx, w, x.dirty); err != nil {
			return fail(err, "")
		}
		if start == 0 {
			return fail(fmt.Errorf("start at LSN 0: %w", redoubt.ErrInvalid), "")
		}
	} else {
		start = w.resume(x.hello.Epoch) + 1
	}
	head, tail := j.Head(), j.Tail()
	switch {
	case head.Epoch != x.hello.Epoch:
		return fail(fmt.Errorf("the epoch changed to %d meanwhile: %w", head.Epoch, redoubt.ErrUnavailable), "")
	case start > head.LSN+1:
		return fail(fmt.Errorf("the receiver has %d:%d, our journal ends at %s: histories differ: %w", x.hello.Epoch, start-1, head, redoubt.ErrGap),
			"the journal was lost or belongs to another history; nothing is overwritten")
	case start < tail && !x.gapOpen():
		return fail(fmt.Errorf("the receiver has up to LSN %d, our journal begins at %d: %w", start-1, tail, redoubt.ErrGap),
			"a resynchronisation is needed: the writes between are not in the journal any more")
	}
	// What the receiver has committed it has acknowledged, even if the ack was lost.
	if start-1 > x.cur.Acked() {
		if err := x.cur.Ack(start - 1); err != nil {
			return fail(fmt.Errorf("%w: %w", errJournal, err), "")
		}
	}
	return start, nil
}

func (x *session) write(typ uint8, body ...[]byte) error {
	sum := uint32(0)
	for _, p := range body {
		sum = redoubt.ChecksumUpdate(sum, p)
	}
	return x.writeSummed(typ, sum, body...)
}

// writeSummed writes a frame of whose body sum is the checksum.
func (x *session) writeSummed(typ uint8, sum uint32, parts ...[]byte) error {
	x.wmu.Lock()
	defer x.wmu.Unlock()
	if err := wire.WriteSummed(x.out, typ, sum, parts...); err != nil {
		if x.ctx.Err() != nil {
			return context.Cause(x.ctx)
		}
		// The receiver may have said why before it closed; listen reads on for that.
		return x.lastWord(err)
	}
	return nil
}

// lastWord waits a moment for the receiver's error, which is better than "broken pipe".
func (x *session) lastWord(err error) error {
	t := time.NewTimer(500 * time.Millisecond)
	defer t.Stop()
	select {
	case <-x.ctx.Done():
		return context.Cause(x.ctx)
	case <-t.C:
		return &redoubt.Error{Op: "ship to", Object: x.conn.RemoteAddr().String(), Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err)}
	}
}

// beat tells the receiver about every second how far we are.
func (x *session) beat() error {
	t := time.NewTicker(x.s.o.Heartbeat)
	defer t.Stop()
	j := x.s.o.Journal
	for {
		if err := x.write(frameHeartbeat, encodeNumbers(uint64(j.Head().LSN), uint64(j.HeadTime()), uint64(x.s.o.Now().UnixNano()))); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
	}
}

// listen takes what the receiver says. A receiver that says nothing for
// PeerTimeout is gone.
func (x *session) listen() error {
	r := wire.Reader{R: wire.IdleReader{Conn: x.conn, Timeout: x.s.o.PeerTimeout}, Max: maxControl}
	for {
		typ, b, err := r.Next()
		if err != nil {
			if x.ctx.Err() != nil {
				return context.Cause(x.ctx)
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				err = fmt.Errorf("%w for %s", errSilent, x.s.o.PeerTimeout)
			}
			return &redoubt.Error{Op: "ship to", Object: x.conn.RemoteAddr().String(), Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err)}
		}
		if err := x.take(typ, b); err != nil {
			return err
		}
	}
}

func (x *session) take(typ uint8, b []byte) error {
	switch typ {
	case frameAlive:
		return nil
	case frameAck:
		v, err := decodeNumbers(b, 2)
		if err != nil {
			return err
		}
		return x.ack(redoubt.Position{Epoch: redoubt.Epoch(v[0]), LSN: redoubt.LSN(v[1])})
	case frameWhole:
		v, err := decodeNumbers(b, 2)
		if err != nil {
			return err
		}
		return x.whole(redoubt.Position{Epoch: redoubt.Epoch(v[0]), LSN: redoubt.LSN(v[1])})
	case frameNotice:
		if x.s.o.OnNotice == nil {
			return badFrame("a notice that nobody asked for")
		}
		x.s.o.OnNotice()
		return nil
	case frameError:
		return wire.DecodeError("ship to", x.conn.RemoteAddr().String(), b)
	case frameDirty, frameDirtyEnd:
		return x.takeDirty(typ, b)
	}
	return badFrame(fmt.Sprintf("unexpected type %d", typ))
}

func (x *session) takeDirty(typ uint8, b []byte) error {
	select {
	case <-x.dirtyDone:
		return badFrame("dirty extents after their end")
	default:
	}
	if x.dirty == nil {
		x.dirty = map[redoubt.DiskID][]redoubt.Extent{}
	}
	if typ == frameDirtyEnd {
		close(x.dirtyDone)
		return nil
	}
	n, err := decodeDirty(b, x.dirty)
	if x.dirtyCount += n; err == nil && x.dirtyCount > maxDirty {
		err = badFrame("too many dirty extents")
	}
	return err
}

// ack moves the cursor and the window. It may be above what this session has
// shipped, when deltas of the session before were committed late; but an ack of
// what is not even durable here was never shipped: it ends the session.
func (x *session) ack(p redoubt.Position) error {
	s := x.s
	if durable := s.o.Journal.Durable(); p.Epoch != x.hello.Epoch || p.LSN > durable || p.LSN < x.acked {
		return badFrame(fmt.Sprintf("ack of %s, between %d and %d of epoch %d was expected", p, x.acked, durable, x.hello.Epoch))
	}
	x.acked = p.LSN
	s.mu.Lock()
	s.st.Acked = p
	n := 0
	for n < len(s.inflight) && s.inflight[n].last <= p.LSN {
		s.ackedTime = s.inflight[n].lastTime
		n++
	}
	s.inflight = s.inflight[n:]
	s.mu.Unlock()
	if err := x.cur.Ack(p.LSN); err != nil {
		return &redoubt.Error{Op: "move cursor", Object: s.o.Cursor, Err: fmt.Errorf("%w: %w", errJournal, err)}
	}
	if err := x.settleGap(p.LSN); err != nil {
		return err
	}
	if s.o.OnAck != nil {
		s.o.OnAck()
	}
	for range n {
		x.free <- struct{}{}
	}
	return s.keep.settle(p.LSN)
}

// whole notes how far the receiver has all of its redundancy. It may fall.
func (x *session) whole(p redoubt.Position) error {
	if p.Epoch != x.hello.Epoch || !x.hello.Whole {
		return badFrame(fmt.Sprintf("%s is whole, epoch %d was expected", p, x.hello.Epoch))
	}
	x.s.keep.learn(p.LSN)
	return x.s.keep.settle(x.cur.Acked())
}
