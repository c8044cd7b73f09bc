package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// The states of a hold, as the secondary names them.
const (
	statePaused      = "Paused"
	stateUnprotected = "Unprotected"
)

// hold says that this side keeps its writes to itself, and why. The catalog
// decides; but a pause that is asked for here begins here, at once, whether the
// secondary can be reached or not. It is stored in the journal's state.
type hold struct {
	ship.Hold
	// Ask is what the operator here wants and the secondary has not answered yet.
	Ask *ship.Ask `json:"ask,omitempty"`
}

const holdKey = "hold"

func (h *hold) none() bool { return h.State == "" && h.Ask == nil }

func loadState[T any](g *Group, key string) (v T, ok bool, err error) {
	b, ok, err := g.journal.State(key)
	if err != nil || !ok {
		return v, false, err
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, false, &redoubt.Error{Op: "read state", Object: key, Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	return v, true, nil
}

// putState makes v durable under key.
func (g *Group) putState(key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return g.journal.PutState(key, b)
}

// heldBack returns the present hold.
func (g *Group) heldBack() hold {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hold
}

// setHold makes h durable, then effective: the mode that runs begins anew. The
// caller holds g.step.
func (g *Group) setHold(h hold) error {
	var err error
	if h.none() {
		err = g.journal.PutState(holdKey, nil)
	} else {
		err = g.putState(holdKey, h)
	}
	if err != nil {
		return err
	}
	if h.State == stateUnprotected {
		if err := g.untie(); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.hold = h
	r := g.role
	g.mu.Unlock()
	g.publish(r)
	return nil
}

// untie lets the journal go of what the secondary does not have: it keeps only
// what the disks need.
func (g *Group) untie() error {
	g.setCursor(nil)
	for _, name := range []string{cursorName, keepName} {
		if err := g.journal.RemoveCursor(name); err != nil && !errors.Is(err, redoubt.ErrNotFound) {
			return err
		}
	}
	return nil
}

// tie has the journal keep all that it still has for the secondary.
func (g *Group) tie() error {
	c, err := g.journal.Cursor(cursorName, g.journal.Tail()-1)
	if err == nil {
		g.setCursor(c)
	}
	return err
}

// adoptHold takes over what the catalog says. The caller does not hold g.step.
// An unprotected journal has given up what the secondary would need next: only
// protecting again leads out of that, so until then the secondary is asked to
// let go too. changed says that the mode begins anew.
func (g *Group) adoptHold(said *ship.Hold) (changed bool) {
	g.step.Lock()
	defer g.step.Unlock()
	now := g.heldBack()
	next := hold{}
	if said != nil {
		next.Hold = *said
	}
	if now.State == stateUnprotected && next.State != stateUnprotected {
		next = now
		next.Ask = &ship.Ask{Op: ship.AskUnprotect, By: now.By, Reason: now.Reason}
		if now.Ask != nil {
			return false
		}
	} else if next.State == now.State && now.Ask == nil {
		return false
	}
	if err := g.setHold(next); err != nil {
		g.log.Error("what the secondary says of a pause could not be stored", "err", err)
		return false
	}
	g.log.Info("replication", "hold", next.State, "by", next.By, "reason", next.Reason)
	return true
}

// runHeld keeps asking the secondary until something has changed or ctx is done.
func (g *Group) runHeld(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { g.catchUp.track(ctx) }) // a pause may be longer than the journal
	for ctx.Err() == nil {
		if w, err := g.ask(ctx); err == nil {
			g.keepWelcome(w)
			if changed, err := g.heed(w); err != nil {
				g.log.Warn("the secondary refuses what was asked for here", "err", err, "hint", redoubt.Hint(err))
			} else if changed {
				return
			}
			if g.resyncHere(&w) && g.heldBack().State != stateUnprotected {
				if err := g.beginResync(ctx, w); err == nil {
					return
				} else {
					g.log.Error("the resynchronisation could not begin", "err", err, "hint", redoubt.Hint(err))
				}
			}
		}
		pause(ctx, g.cfg.PollInterval)
	}
}

// heed acts on the answer to a probe of a writer. The error is the secondary's
// refusal of what was asked for; the ask is over then.
func (g *Group) heed(w ship.Welcome) (changed bool, err error) {
	if h := g.heldBack(); h.Ask != nil && w.Answer != nil {
		err = w.Answer.Err(h.Ask.Op, g.cfg.Name)
		g.step.Lock()
		if g.heldBack().Ask == h.Ask { // no other came in between
			h.Ask = nil
			err = errors.Join(err, g.setHold(h))
		}
		g.step.Unlock()
		changed = true
	}
	if w.Epoch > g.Role().Epoch {
		return g.obey(w) || changed, err
	}
	if g.heldBack().Ask != nil {
		return changed, err // this answer is older than what is asked for now
	}
	return g.adoptHold(w.Hold) || changed, err
}

func (g *Group) setCursor(c *journal.Cursor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cursor = c
}

// endHold forgets the hold, when this side stops to be the writer. The caller
// holds g.step.
func (g *Group) endHold() error {
	if g.secondary() == nil {
		if err := g.tie(); err != nil {
			return err
		}
	}
	if err := g.journal.PutState(holdKey, nil); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = hold{}
	return nil
}
