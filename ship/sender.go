package ship

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// Sender ships a journal to whichever receiver has the group. Run owns all its
// work; Status may be called at any time.
type Sender struct {
	o     SenderOptions
	meter *linkMeter
	comp  *Compressor
	keep  *keeper // set by Run

	mu        sync.Mutex
	st        SenderStatus
	inflight  []shipped // in order
	ackedTime int64     // time of the last acked write, 0 if not known
}

// shipped is a delta that waits for its ack.
type shipped struct {
	last                redoubt.LSN
	firstTime, lastTime int64
}

// NewSender returns a sender that does nothing until Run.
func NewSender(o SenderOptions) *Sender {
	o = o.withDefaults()
	m := newLinkMeter(o.Codec)
	c, _ := m.state()
	return &Sender{o: o, meter: m, comp: NewCompressor(c)}
}

// Waits between rounds over all addresses.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 2 * time.Second
	// A session that lasted so long, or that got something across, was sound: the
	// next attempt comes soon.
	steady       = 5 * time.Second
	maxRedirects = 4
)

// Run ships until ctx is done (and returns its error), the group has another
// writer (*FencedError), or the journal has failed. Everything else is tried
// again, with all addresses in turn. It must be called once at a time.
func (s *Sender) Run(ctx context.Context) error {
	if err := s.o.validate(); err != nil {
		return err
	}
	cur, err := openCursor(s.o.Journal, s.o.Cursor)
	if err != nil {
		return err
	}
	keep, err := openKeeper(s.o.Journal, s.o.Keep)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.keep = keep
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { keep.watch(ctx, s.o.Heartbeat, cur.Acked) })
	s.update(func(st *SenderStatus) { st.Acked = redoubt.Position{Epoch: s.o.Journal.Epoch(), LSN: cur.Acked()} })
	last, wait := "", backoffFirst // last: where it went well; tried first, or last of all if it fell silent
	silent := false
	for {
		before, begin := s.ackedLSN(), time.Now()
		good, err := s.round(ctx, cur, last, silent)
		if stop := s.fatal(ctx, err); stop != nil {
			return stop
		}
		if good != "" {
			last = good
		}
		silent = errors.Is(err, errSilent)
		if s.ackedLSN() > before || time.Since(begin) > steady {
			wait = backoffFirst
		}
		// Half of the wait is chance, so that many sources do not come back in step.
		pause := wait/2 + rand.N(wait/2+1)
		s.o.Logger.Debug("shipping pauses", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		wait = min(2*wait, backoffMost)
	}
}

func (s *Sender) ackedLSN() redoubt.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.Acked.LSN
}

// fatal returns the error with which Run ends, or nil to go on.
func (s *Sender) fatal(ctx context.Context, err error) error {
	var fenced *FencedError
	var lost *LostError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &fenced):
		return fenced
	case errors.As(err, &lost):
		return lost
	case s.o.Journal.Err() != nil:
		return s.o.Journal.Err()
	case errors.Is(err, redoubt.ErrClosed) && errors.Is(err, errJournal):
		return err
	}
	return nil
}

// errSilent marks a peer that said nothing for PeerTimeout. Its host may be gone
// without a trace, so that only connecting to it would take seconds.
var errSilent = errors.New("the peer is silent")

// errJournal marks errors of our own journal.
var errJournal = errors.New("journal")

// round tries last and then all addresses (last at the end if it was silent), following redirects, until one
// session was accepted; it returns that session's address and why it ended.
func (s *Sender) round(ctx context.Context, cur *journal.Cursor, last string, silent bool) (good string, err error) {
	queue := slices.Clone(s.o.Addrs())
	if last != "" {
		queue = slices.DeleteFunc(queue, func(a string) bool { return a == last })
		if silent {
			queue = append(queue, last)
		} else {
			queue = slices.Insert(queue, 0, last)
		}
	}
	if len(queue) == 0 {
		err = &redoubt.Error{Op: "ship", Err: fmt.Errorf("no address to ship to: %w", redoubt.ErrUnavailable)}
		s.failed("", err)
		return "", err
	}
	tried := map[string]bool{}
	redirects := 0
	for len(queue) > 0 {
		addr := queue[0]
		queue = queue[1:]
		if tried[addr] {
			continue
		}
		tried[addr] = true
		redirect, accepted, serr := s.session(ctx, addr, cur)
		if serr != nil {
			err = serr
			s.failed(addr, serr)
		}
		var fenced *FencedError
		var lost *LostError
		if accepted || ctx.Err() != nil || errors.As(serr, &fenced) || errors.As(serr, &lost) {
			if accepted {
				good = addr
			}
			return good, serr
		}
		if redirect != "" && redirects < maxRedirects {
			redirects++
			queue = slices.Insert(queue, 0, redirect)
			if tried[redirect] {
				err = &redoubt.Error{Op: "ship to", Object: addr, Err: fmt.Errorf("redirects to %s, which does not take it: %w", redirect, redoubt.ErrUnavailable)}
				s.failed(addr, err)
			}
		}
	}
	return "", err
}

func (s *Sender) failed(addr string, err error) {
	s.o.Logger.Warn("shipping interrupted", "peer", addr, "err", err, "hint", redoubt.Hint(err))
	s.update(func(st *SenderStatus) {
		st.Connected, st.LastError = false, err
		if addr != "" {
			st.Peer = addr
		}
	})
}
