package source

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// anew is the intent to begin again: the group was protected anew, and this
// side is its writer in the epoch that begins after At. It is stored before
// the first step and removed after the last, so a crash in between only means
// that the steps are done again. They are done between two modes: a copy or a
// stream that runs beside them would go on in the new epoch.
type anew struct {
	Epoch   redoubt.Epoch   `json:"epoch"`
	At      redoubt.LSN     `json:"at"`
	Lineage redoubt.Lineage `json:"lineage"`
}

const anewKey = "anew"

// becomeWriter makes this side the writer of w's epoch: where it left off, or
// anew if the group was protected again since.
func (g *Group) becomeWriter(w ship.Welcome) error {
	if w.Anew > g.Role().Epoch {
		return g.beginAnew(w)
	}
	return g.takeOver(w)
}

// beginAnew decides that the journal is forgotten, that this side goes on at the
// fork of w's epoch, and that the disks are copied whole; and ends the mode.
func (g *Group) beginAnew(w ship.Welcome) error {
	g.step.Lock()
	defer g.step.Unlock()
	f, ok := w.Lineage.Find(w.Epoch)
	if !ok || w.Epoch <= g.Role().Epoch {
		return &redoubt.Error{Op: "begin anew", Object: string(g.cfg.Name), Err: redoubt.ErrInvalid, Hint: "the secondary's lineage does not hold its epoch"}
	}
	if r := g.Role(); !r.Whole(g.journal.Head().LSN) {
		return &redoubt.Error{Op: "begin anew", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: "the disks here hold an unfinished copy: a mixture is not protected"}
	}
	in := anew{Epoch: w.Epoch, At: f.At, Lineage: w.Lineage}
	if err := g.putState(anewKey, in); err != nil {
		return err
	}
	g.swapReplica(nil)
	g.publish(g.Role())
	return nil
}

// mayFollow refuses the way back while this side is to begin anew.
func (g *Group) mayFollow() error {
	in, ok, err := loadState[anew](g, anewKey)
	if err == nil && ok {
		err = &redoubt.Error{Op: "reverse replicate", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: "this side is about to begin epoch " + in.Epoch.String() + " as the writer; try again"}
	}
	return err
}

// resumeAnew does what beginAnew has decided. No mode runs.
func (g *Group) resumeAnew() error {
	g.step.Lock()
	defer g.step.Unlock()
	in, ok, err := loadState[anew](g, anewKey)
	if err != nil || !ok {
		return err
	}
	return g.finishAnew(in)
}

// finishAnew does the steps; each may have been done before. The caller holds
// g.step.
func (g *Group) finishAnew(in anew) error {
	if g.journal.Epoch() < in.Epoch {
		// From here on the journal keeps for the secondary; the reset moves the
		// cursor to where the epoch begins.
		if err := g.tie(); err != nil {
			return err
		}
		if err := g.disks.Reset(context.Background(), redoubt.Position{Epoch: in.Epoch, LSN: in.At}); err != nil {
			return err
		}
	} else if err := g.tie(); err != nil {
		return err
	}
	// Beneath a history that is kept, a hole must be shipped as zeros.
	if err := g.copy.restart(in.At > 0); err != nil {
		return err
	}
	r := Role{Mode: ModeWriter, Epoch: in.Epoch, Lineage: in.Lineage, Branch: g.Role().Branch}
	if err := r.save(g.journal); err != nil {
		return err
	}
	if err := g.journal.PutState(holdKey, nil); err != nil {
		return err
	}
	if err := g.journal.PutState(anewKey, nil); err != nil {
		return err
	}
	g.mu.Lock()
	g.hold = hold{}
	g.mu.Unlock()
	if err := g.keepReceipt(nil); err != nil {
		return err
	}
	g.publish(r)
	g.disks.SetReadOnly(g.readOnlyError())
	g.log.Info("protected again", "epoch", in.Epoch, "after", in.At)
	return nil
}
