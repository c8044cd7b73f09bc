package source

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// resyncState is a resynchronisation by hashes, as part of the copier's state:
// Epoch begins at Base, and the disks here hold something else.
type resyncState struct {
	Epoch   redoubt.Epoch    `json:"epoch"`
	Base    redoubt.Position `json:"base"`
	Lineage redoubt.Lineage  `json:"lineage"`
}

// awaitResync asks the secondary, again and again, whether the operator has
// begun the resynchronisation that it needs, and begins it then. Until then
// writes go on, and nothing of the journal is worth keeping.
func (g *Group) awaitResync(ctx context.Context, w ship.Welcome) {
	if w.Lost != "" {
		g.log.Error("the secondary takes nothing from this host", "why", w.Lost, "hint", "redoubt resync "+string(g.cfg.Name))
	}
	for err := error(nil); ctx.Err() == nil; w, err = g.ask(ctx) {
		switch {
		case err != nil:
		case g.resyncHere(&w):
			g.keepWelcome(w)
			if err := g.beginResync(ctx, w); err == nil {
				return
			} else {
				g.log.Error("the resynchronisation could not begin", "err", err, "hint", redoubt.Hint(err))
			}
		default:
			if g.keepWelcome(w); w.Lost == "" {
				return
			}
			if err := g.forgetRecords(); err != nil {
				g.log.Error("the journal keeps what is not shipped any more", "err", err)
			}
		}
		pause(ctx, g.cfg.PollInterval)
	}
}

// forgetRecords lets the journal go: it will not be shipped.
func (g *Group) forgetRecords() error {
	if err := g.journal.RemoveCursor(keepName); err != nil && !errors.Is(err, redoubt.ErrNotFound) {
		return err
	}
	if c := g.secondary(); c != nil {
		return c.Ack(g.journal.Head().LSN)
	}
	return nil
}

// resyncHere reports whether w says that this host begins w's epoch with a
// comparison of its disks.
func (g *Group) resyncHere(w *ship.Welcome) bool {
	return !w.Compare.IsZero() && w.Writer == "source/"+g.host.Name && w.Epoch > g.Role().Epoch
}

// beginResync makes this host the writer of w's epoch, whose disks are to be
// compared. Nothing of the journal is needed: whatever is on the disks is
// compared. A crash before the journal's reset leaves everything to be done
// again; one after it is mended by finishResync.
func (g *Group) beginResync(ctx context.Context, w ship.Welcome) error {
	g.verify.close()
	defer g.verify.open()
	g.step.Lock()
	defer g.step.Unlock()
	f, ok := w.Lineage.Find(w.Epoch)
	if err := w.Lineage.Validate(); err != nil || !ok || f.Parent != w.Compare.Epoch || f.At != w.Compare.LSN {
		return &redoubt.Error{Op: "resynchronise", Object: string(g.cfg.Name), Err: fmt.Errorf("epoch %d does not begin at %s: %w", w.Epoch, w.Compare, redoubt.ErrInvalid)}
	}
	if w.UUID != "" && w.UUID != g.uuid() {
		if err := g.adoptIdentity(w.UUID); err != nil {
			return err
		}
	}
	r := resyncState{Epoch: w.Epoch, Base: w.Compare, Lineage: w.Lineage}
	if err := g.copy.restartFrom(r); err != nil {
		return err
	}
	g.swapReplica(nil)
	if err := g.forgetRecords(); err != nil {
		return err
	}
	if err := g.disks.Reset(ctx, redoubt.Position{Epoch: r.Epoch, LSN: r.Base.LSN}); err != nil {
		return err
	}
	role := r.role(g.Role())
	if err := role.save(g.journal); err != nil {
		return err
	}
	if err := g.keepReceipt(nil); err != nil {
		return err
	}
	g.publish(role)
	g.disks.SetReadOnly(g.readOnlyError())
	g.log.Warn("the disks are compared with the secondary, and what differs is shipped", "epoch", r.Epoch, "from", r.Base.String())
	return nil
}

// role is that of the writer of the resynchronisation's epoch.
func (r *resyncState) role(old Role) Role {
	return Role{Mode: ModeWriter, Epoch: r.Epoch, Lineage: r.Lineage, Branch: old.Branch}
}

// finishResync takes the role that a crash behind the journal's reset has kept
// back.
func (g *Group) finishResync() error {
	st, ok, err := loadCopyState(g.journal, copyKey)
	if err != nil || !ok || st.Resync == nil || st.Resync.Epoch != g.journal.Epoch() || st.Resync.Epoch <= g.role.Epoch {
		return err
	}
	g.role = st.Resync.role(g.role)
	return g.role.save(g.journal)
}

func (g *Group) uuid() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.id.UUID
}

// adoptIdentity gives the group back the UUID that it has at the secondary.
func (g *Group) adoptIdentity(uuid string) error {
	if err := g.changeIdentity(func(id *identity) { id.UUID = uuid }); err != nil {
		return err
	}
	g.log.Warn("the group has its identity back", "uuid", uuid)
	return nil
}
