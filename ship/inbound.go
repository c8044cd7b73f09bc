package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// inbound is one connection at the receiver. read runs on the connection's own
// goroutine, speak sends acks and signs of life on another.
type inbound struct {
	r        *Receiver
	conn     net.Conn
	peer     pki.Identity
	hello    Hello
	welcome  Welcome
	stream   Stream
	sizes    map[redoubt.DiskID]uint64
	ctx      context.Context
	end      context.CancelCauseFunc
	ended    chan struct{}
	released chan struct{} // closed when the stream is closed and another may open
	wmu      sync.Mutex    // one frame at a time on the wire

	teller wholeTeller // nil if the sender is not told
	told   redoubt.LSN // owned by speak
	spoken bool

	began bool
	next  redoubt.LSN // expected first LSN of the next delta

	mu      sync.Mutex
	acked   redoubt.Position // newest position that the sink has committed
	ackable chan struct{}    // one token: acked has moved
}

// run serves the connection; the error says why it ended.
func (in *inbound) run() error {
	// When the stream is over for whatever reason, a blocked read must end; the
	// connection itself stays open for the last word.
	stop := context.AfterFunc(in.ctx, func() { _ = in.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := in.greet(); err != nil {
		return err
	}
	h := &in.hello
	if err := checkHello(h); err != nil {
		return err
	}
	if err := mayAsk(in.peer, h); err != nil {
		return err
	}
	if !h.Probe {
		k := streamKey{h.Group, h.UUID, h.Reverse, in.peer}
		in.released = make(chan struct{})
		if err := in.r.supersede(in, k); err != nil {
			return err
		}
		defer in.r.release(in, k)
	}
	w, st, err := in.r.o.Sink.Hello(in.ctx, in.peer, *h)
	if err != nil {
		return err
	}
	if st != nil {
		defer st.Close()
		if err := in.admit(&w); err != nil {
			return err
		}
	}
	in.welcome, in.stream = w, st
	in.welcome.Accepted = st != nil
	if ws, ok := st.(wholeTeller); ok && in.hello.Whole && !in.hello.Reverse {
		in.teller, in.welcome.Whole = ws, true
	}
	body, err := encodeJSON(in.welcome)
	if err != nil {
		return err
	}
	if err := in.write(frameWelcome, body); err != nil {
		return err
	}
	if st == nil {
		return nil
	}
	return in.receive()
}

func (in *inbound) admit(w *Welcome) error {
	if in.hello.Probe || w.Fenced || w.Redirect != "" {
		return &redoubt.Error{Op: "open stream of", Object: string(in.hello.Group), Err: fmt.Errorf("the sink gave a stream where none is due: %w", redoubt.ErrState)}
	}
	return mayWrite(in.peer, &in.hello, w)
}

// greet reads preface and Hello.
func (in *inbound) greet() error {
	_ = in.conn.SetDeadline(time.Now().Add(helloTimeout))
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	if err := wire.ReadPreface(in.conn, tag()); err != nil {
		if errors.Is(err, io.EOF) {
			return errPeerLeft
		}
		return err
	}
	if err := wire.WritePreface(in.conn, tag()); err != nil {
		return err
	}
	fr := wire.Reader{R: in.conn, Max: maxHello}
	typ, b, err := fr.Next()
	if err != nil {
		return err
	}
	if typ != frameHello {
		return badFrame(fmt.Sprintf("type %d instead of a hello", typ))
	}
	if in.hello, err = decodeJSON[Hello](b); err != nil {
		return err
	}
	_ = in.conn.SetDeadline(time.Time{})
	return in.ctx.Err()
}

// receive reads until the stream ends, with speak and the dirty extents beside it.
func (in *inbound) receive() error {
	in.sizes = map[redoubt.DiskID]uint64{}
	for _, list := range [][]redoubt.Disk{in.hello.Gone, in.hello.Disks} {
		for _, d := range list {
			in.sizes[d.ID] = d.Size
		}
	}
	var wg sync.WaitGroup
	goes := func(fn func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := fn(); err != nil {
				in.end(err)
			}
		}()
	}
	goes(in.speak)
	if in.welcome.Resync {
		goes(in.sendDirty)
	}
	in.end(in.read())
	wg.Wait()
	return context.Cause(in.ctx)
}

func (in *inbound) read() error {
	r := wire.Reader{R: wire.IdleReader{Conn: in.conn, Timeout: in.r.o.PeerTimeout, Done: in.ctx.Done()}, Max: in.r.o.MaxDelta, Take: slab.Get}
	for {
		typ, b, err := r.Next()
		if err != nil {
			switch {
			case in.ctx.Err() != nil:
				return context.Cause(in.ctx)
			case errors.Is(err, io.EOF):
				return errPeerLeft
			}
			return err
		}
		if err := in.take(typ, b, r.Sum); err != nil {
			return err
		}
	}
}

func (in *inbound) take(typ uint8, b []byte, sum uint32) error {
	switch typ {
	case frameBegin:
		v, err := decodeNumbers(b, 1)
		if err != nil {
			return err
		}
		return in.begin(redoubt.LSN(v[0]))
	case frameHeartbeat:
		v, err := decodeNumbers(b, 3)
		if err != nil {
			return err
		}
		in.stream.Heartbeat(redoubt.LSN(v[0]), int64(v[1]), int64(v[2]))
		return nil
	case frameDelta:
		return in.delta(b, sum)
	}
	return badFrame(fmt.Sprintf("unexpected type %d", typ))
}

func (in *inbound) begin(start redoubt.LSN) error {
	want := in.welcome.resume(in.hello.Epoch) + 1
	if in.began || start == 0 || !in.welcome.Resync && start != want {
		return &redoubt.Error{Op: "begin stream of", Object: string(in.hello.Group), Err: fmt.Errorf("at LSN %d, %d was expected: %w", start, want, redoubt.ErrGap)}
	}
	if err := in.stream.Begin(start); err != nil {
		return err
	}
	in.began, in.next = true, start
	return nil
}

// delta checks one delta and hands it on. What was received before is not handed
// on again; what leaves a gap ends the stream. Neither changes anything.
func (in *inbound) delta(b []byte, sum uint32) error {
	if !in.began {
		return badFrame("a delta before the beginning")
	}
	d, err := Parse(b)
	if err != nil {
		return err
	}
	if err := checkDelta(d, sum, &in.hello, in.sizes); err != nil {
		return err
	}
	if d.Last < in.next {
		in.note(redoubt.Position{}) // repeats the newest ack
		return nil
	}
	if d.First != in.next {
		return &redoubt.Error{Op: "receive", Object: string(d.Group), Err: fmt.Errorf("delta %d-%d, LSN %d is next: %w", d.First, d.Last, in.next, redoubt.ErrGap)}
	}
	in.next = d.Last + 1
	d.lent = true
	in.stream.Append(d, func(p redoubt.Position, err error) {
		if err != nil {
			in.end(err)
			return
		}
		in.note(p)
	})
	return nil
}

// note remembers the newest committed position for speak. It may be called after
// the end.
func (in *inbound) note(p redoubt.Position) {
	in.mu.Lock()
	if p.LSN > in.acked.LSN {
		in.acked = p
	}
	in.mu.Unlock()
	select {
	case in.ackable <- struct{}{}:
	default:
	}
}
