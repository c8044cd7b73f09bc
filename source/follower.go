package source

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
)

// probeTimeout bounds one question to a master target.
const probeTimeout = 5 * time.Second

// runFollower asks the secondary, again and again, who the writer is, until
// ctx is done or this side has become the writer. A replica's stream comes in
// by itself, through Host.Hello.
func (g *Group) runFollower(ctx context.Context) {
	g.step.Lock()
	g.ensureReceipt() // a crash may have come between the fence and it
	g.step.Unlock()
	g.thaw() // nobody shall stay frozen over disks that are read-only
	// Only a writer keeps what the secondary has without its redundancy.
	if err := g.journal.RemoveCursor(keepName); err != nil && !errors.Is(err, redoubt.ErrNotFound) {
		g.log.Warn("records stay in the journal that are not needed", "err", err)
	}
	for ctx.Err() == nil {
		if w, err := g.ask(ctx); err == nil {
			g.keepWelcome(w)
			if g.resyncHere(&w) { // nothing else makes this side the writer of that epoch
				if err := g.beginResync(ctx, w); err == nil {
					return
				} else {
					g.log.Warn("the resynchronisation could not begin", "err", err, "hint", redoubt.Hint(err))
				}
				g.waitToAsk(ctx)
				continue
			}
			g.refence(w)
			if w.Writer == "source/"+g.host.Name && w.Epoch > g.Role().Epoch {
				if err := g.becomeWriter(w); err == nil {
					return
				} else {
					g.log.Warn("the catalog names this host as the writer, but it cannot take over", "err", err, "hint", redoubt.Hint(err))
				}
			}
		}
		g.waitToAsk(ctx)
	}
}

// waitToAsk waits for the poll interval, or until a master target has been here.
func (g *Group) waitToAsk(ctx context.Context) {
	t := time.NewTimer(g.cfg.PollInterval)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.nudge:
	case <-ctx.Done():
	}
}

// askSoon has a follower ask the secondary now instead of within a second.
func (g *Group) askSoon() {
	select {
	case g.nudge <- struct{}{}:
	default: // it is told already
	}
}

// ask returns what the group's owner says of the group. It hears what is to be
// told to it.
func (g *Group) ask(ctx context.Context) (ship.Welcome, error) {
	return g.askOf(ctx, g.heldBack().Ask, nil)
}

// askOf is ask, with something that the operator wants, or what a job has come to.
func (g *Group) askOf(ctx context.Context, ask *ship.Ask, r *ship.JobReport) (ship.Welcome, error) {
	var last error
	for _, addr := range g.host.Targets {
		w, err := g.probe(ctx, addr, ask, r)
		if err == nil && w.Redirect != "" {
			w, err = g.probe(ctx, w.Redirect, ask, r)
		}
		if err == nil && w.Redirect == "" {
			return w, nil
		}
		last = err
	}
	return ship.Welcome{}, &redoubt.Error{Op: "ask the secondary", Object: string(g.cfg.Name), Err: redoubt.ErrUnavailable, Hint: hintOf(last)}
}

func hintOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (g *Group) probe(ctx context.Context, addr string, ask *ship.Ask, r *ship.JobReport) (ship.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := g.host.Dial(ctx, addr)
	if err != nil {
		return ship.Welcome{}, err
	}
	defer func(c net.Conn) { _ = c.Close() }(conn)
	h := g.hello()
	h.Probe, h.Ask, h.Job = true, ask, r
	return ship.Probe(ctx, conn, h)
}

// fence turns the disks read-only, for good until a takeover, because the
// lineage of w has a later epoch than this side, and says what the secondary
// does not have.
func (g *Group) fence(w ship.Welcome) error {
	g.step.Lock()
	defer g.step.Unlock()
	r := g.Role()
	if r.Mode != ModeWriter || w.Epoch <= r.Epoch {
		return nil
	}
	g.disks.SetReadOnly(redoubt.ErrFenced)
	if w.UUID != "" && w.UUID != g.uuid() { // the folder of the group was lost
		if err := g.adoptIdentity(w.UUID); err != nil {
			return err
		}
	}
	if err := g.keepReceipt(nil); err != nil { // one of an earlier failover must not be told for this one
		g.log.Error("the receipt of an earlier failover could not be removed", "err", err)
	}
	r.Mode, r.FencedBy, r.Reason = ModeFenced, w.Lineage, w.Reason
	if err := g.endHold(); err != nil {
		return err
	}
	// The fence comes first; it does not depend on the receipt.
	if err := g.setRole(r); err != nil {
		return err
	}
	crashpoint.Here("source.fence.durable")
	g.ensureReceipt()
	g.log.Warn("fenced: a later epoch has taken over; the disks are read-only", "epoch", r.Epoch, "by", w.Lineage.Current(), "writer", w.Writer)
	return nil
}

// refence notes that the lineage has gone on since the fence fell: another
// recovery point was chosen, and the receipt is for that one.
func (g *Group) refence(w ship.Welcome) {
	g.step.Lock()
	defer g.step.Unlock()
	r := g.Role()
	if r.Mode != ModeFenced || w.Lineage.Current() <= r.FencedBy.Current() {
		return
	}
	r.FencedBy, r.Reason = w.Lineage, w.Reason
	err := r.save(g.journal)
	if err == nil {
		g.mu.Lock()
		g.role = r
		g.mu.Unlock()
		err = g.keepReceipt(nil)
	}
	if err != nil {
		g.log.Error("the loss receipt could not be made anew", "err", err)
		return
	}
	g.ensureReceipt()
}

// takeOver makes this side the writer of w's epoch. The order matters: the
// role is durable before the first client may write.
func (g *Group) takeOver(w ship.Welcome) error {
	g.step.Lock()
	defer g.step.Unlock()
	r := g.Role()
	tail := g.journal.Tail()
	if gap, ok := g.journal.Gap(); ok {
		tail = min(tail, gap.From+1) // what was given up is on the disks, and known
	}
	if err := r.takeover(w.Lineage, tail, g.journal.Head().LSN); err != nil {
		return err
	}
	g.swapReplica(nil)
	head := g.journal.Head().LSN
	if err := g.flush(head); err != nil {
		return err
	}
	wasReplica := r.Mode == ModeReplica
	if wasReplica {
		if err := g.copy.finish(head); err != nil {
			return err
		}
	}
	r = Role{Mode: ModeWriter, Epoch: w.Epoch, Lineage: w.Lineage, Branch: r.Branch, Replaced: r.Replaced}
	if wasReplica {
		// The secondary has everything up to here: it sent it.
		if err := g.secondary().Ack(head); err != nil {
			return err
		}
	}
	if err := r.save(g.journal); err != nil {
		return err
	}
	crashpoint.Here("source.writer.role")
	if err := g.journal.SetEpoch(w.Epoch); err != nil {
		return err
	}
	g.publish(r)
	if !wasReplica { // a cancelled failover: the tail goes on, nothing was lost
		if err := g.keepReceipt(nil); err != nil {
			return err
		}
	}
	g.beginLease()
	g.disks.SetReadOnly(g.readOnlyError())
	g.log.Info("took over as the writer", "epoch", w.Epoch, "head", g.journal.Head())
	return nil
}
