package source

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// lease is the right of a writer to write, which ends by itself, also for a host
// that stood still meanwhile (see blockdev.Group.SetExpiry): whoever fails
// over at the secondary cannot stop a source that is cut off, but knows that
// this one has stopped. It is renewed by an answer of the secondary that a
// majority of its nodes stands behind (a probe, behind a barrier of the
// catalog); what an owner says that is cut off from the others is none.
type lease struct {
	until time.Time // zero: never granted since the start
	over  bool      // the disks are read-only for want of it
}

const (
	leaseAsk   = 4  // it is asked for so many times in its length
	leaseLook  = 20 // and looked at so many times
	leaseEarly = 10 // a tenth of it is given up, for what a look and a write in flight take
)

// openLease makes a writer wait for its first contact: while the host was down
// the secondary may have taken over.
func (g *Group) openLease() { g.lease.over = g.cfg.Lease > 0 }

// beginLease has a lease begin with what made this side the writer: an answer of
// the secondary that is as old as a question may last, at most.
func (g *Group) beginLease() {
	g.mu.Lock()
	until := g.contactAt.Add(g.cfg.Lease - g.cfg.Lease/leaseEarly - probeTimeout)
	g.lease = lease{until: until}
	g.mu.Unlock()
	if g.cfg.Lease > 0 {
		g.disks.SetExpiry(until, g.noContact())
	}
}

// runLease keeps the lease, and stops the clients when it is over, until ctx is done.
func (g *Group) runLease(ctx context.Context) {
	if g.cfg.Lease <= 0 {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for ctx.Err() == nil {
			pause(ctx, g.cfg.Lease/leaseLook)
			g.applyLease(ctx)
		}
	})
	for ctx.Err() == nil {
		began := g.host.Now()
		g.askForLease(ctx, began)
		pause(ctx, max(0, g.cfg.Lease/leaseAsk-g.host.Now().Sub(began)))
	}
}

// askForLease asks once. The lease counts from before the question.
func (g *Group) askForLease(ctx context.Context, began time.Time) {
	actx, cancel := context.WithTimeout(ctx, g.cfg.Lease/leaseAsk)
	defer cancel()
	w, err := g.askOf(actx, nil, nil)
	switch {
	case err != nil:
	case w.Epoch > g.Role().Epoch:
		g.obey(w)
	case w.Epoch == g.Role().Epoch && !w.Fenced:
		g.mu.Lock()
		g.lease.until = began.Add(g.cfg.Lease - g.cfg.Lease/leaseEarly)
		g.mu.Unlock()
		g.applyLease(ctx)
	}
}

// applyLease stops or lets go the clients, as the lease says now.
func (g *Group) applyLease(ctx context.Context) {
	g.step.Lock() // before the look: to wait for it may take longer than the lease has left
	defer g.step.Unlock()
	if ctx.Err() != nil {
		return // another mode has begun
	}
	unprotected := g.heldBack().State == stateUnprotected // then nobody can take over
	g.mu.Lock()
	was, until := g.lease.over, g.lease.until
	over := !unprotected && !g.host.Now().Before(until)
	g.lease.over = over
	g.mu.Unlock()
	if unprotected {
		until = time.Time{}
	}
	g.disks.SetExpiry(until, g.noContact())
	if over == was {
		return
	}
	g.disks.SetReadOnly(g.readOnlyError())
	if over {
		g.log.Warn("no contact with the secondary: the disks take no writes until there is one", "lease", g.cfg.Lease)
	} else {
		g.log.Info("the secondary grants the lease: writes go on")
	}
}

// leaseError is what clients get while the lease is over, or nil.
func (g *Group) leaseError() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.lease.over || g.role.Mode != ModeWriter {
		return nil
	}
	return g.noContact()
}

func (g *Group) noContact() error {
	return &redoubt.Error{Op: "write to group", Object: string(g.cfg.Name), Err: fmt.Errorf("no contact with the secondary for %s: %w", g.cfg.Lease, redoubt.ErrReadOnly),
		Hint: "writes go on by themselves when the secondary can be reached; without a secondary: redoubt group unprotect " + string(g.cfg.Name) + " at this host, or take lease out of its configuration"}
}
