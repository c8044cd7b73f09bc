package source

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// retryAfter is the pause after a failure that the sender could not mend itself.
const retryAfter = 2 * time.Second

// runWriter ships and copies until ctx is done or the group is fenced.
func (g *Group) runWriter(ctx context.Context) {
	if h := g.heldBack(); !h.none() {
		g.runHeld(ctx)
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopCopy := g.runCopies(ctx)
	defer stopCopy()
	wg.Go(func() { g.verifyNowAndThen(ctx) })
	wg.Go(func() { g.runPlanned(ctx) })
	wg.Go(func() { g.catchUp.track(ctx) })
	wg.Go(func() { g.runBookmarks(ctx) })
	for ctx.Err() == nil {
		s := ship.NewSender(ship.SenderOptions{
			Journal: g.journal, Cursor: cursorName, Keep: keepName, Current: g.disks, Recent: g.disks, Hello: g.hello,
			Dial: g.host.Dial, Addrs: func() []string { return g.host.Targets },
			OnWelcome: g.onWelcome, OnNotice: g.noteNews, OnAck: g.noteAck, RateLimit: g.cfg.ShipRate, Logger: g.log, Now: g.host.Now,
		})
		g.setSender(s)
		err := s.Run(ctx)
		g.setSender(nil)
		var fenced *ship.FencedError
		var lost *ship.LostError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &lost):
			stopCopy()
			g.awaitResync(ctx, lost.Welcome)
			return // a mode begins anew
		case errors.As(err, &fenced):
			if g.obey(fenced.Welcome) {
				return
			}
		default:
			g.log.Error("shipping stopped", "err", err, "hint", redoubt.Hint(err))
		}
		pause(ctx, retryAfter)
	}
}

// runCopies begins to announce what the secondary lacks: of the disks, of those
// that join or leave, and of what the journal gave up. stop ends that and waits
// for its end, so that nobody announces anything while the journal is begun anew,
// and nobody takes the cursor that moves with it for an acknowledgement.
func (g *Group) runCopies(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.copy.run(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("the copy of the disks stopped", "err", err)
		}
	})
	wg.Go(func() { g.catchUp.run(ctx) })
	wg.Go(func() { g.settleDisks(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// obey acts on a Welcome that names a later epoch: it takes over if the
// catalog made this source the writer again, and fences itself otherwise. It
// reports whether the role changed. A resynchronisation is left to the sender,
// which hears of it too: whoever else asks runs beside the copies.
func (g *Group) obey(w ship.Welcome) bool {
	g.keepWelcome(w)
	if g.resyncHere(&w) {
		return false
	}
	if w.Writer == "source/"+g.host.Name {
		err := g.becomeWriter(w)
		if err == nil {
			return true
		}
		g.log.Warn("the catalog names this host as the writer, but it cannot take over", "err", err, "hint", redoubt.Hint(err))
	}
	if err := g.fence(w); err != nil {
		g.log.Error("could not record the fence; the disks are read-only until restart", "err", err)
	}
	return true
}

// onWelcome takes what the secondary says before a stream begins.
func (g *Group) onWelcome(w ship.Welcome) {
	g.keepWelcome(w)
	if w.Hold != nil && w.Epoch == g.Role().Epoch {
		g.adoptHold(w.Hold)
	}
	if w.Epoch == g.Role().Epoch {
		g.learnDisks(w)
		g.declare(w)
	}
	if w.Job != nil {
		g.noteNews()
	}
}

func (g *Group) hello() ship.Hello {
	g.mu.Lock()
	defer g.mu.Unlock()
	head, tail := g.journal.Head(), g.journal.Tail()
	gap, _ := g.journal.Gap() // after the tail, or that could seem to lie behind it
	h := ship.Hello{
		Group: g.cfg.Name, UUID: g.id.UUID, Source: g.host.Name, Advertise: g.host.Advertise,
		Epoch: g.role.Epoch, Lineage: g.role.Lineage, Journal: g.journal.ID(),
		Head: head.LSN, HeadTime: g.journal.HeadTime(), Tail: tail, GivenUp: gap.UpTo,
		Disks: g.id.Disks, Joining: g.id.Joining, Gone: g.id.Gone, K: g.cfg.K, M: g.cfg.M,
	}
	if g.receipt != nil && g.role.Mode != ModeWriter {
		h.Receipt = g.receipt.summary()
	}
	return h
}

func (g *Group) setSender(s *ship.Sender) {
	g.mu.Lock()
	g.sender = s
	g.mu.Unlock()
}

func (g *Group) keepAskError(err error) {
	g.mu.Lock()
	g.askErr = err
	g.mu.Unlock()
}

func (g *Group) keepWelcome(w ship.Welcome) {
	g.mu.Lock()
	g.welcome, g.contactAt, g.lost = &w, g.host.Now(), w.Lost
	g.mu.Unlock()
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
