package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// Outcome is what came of an operation that was asked for here.
type Outcome struct {
	State string // of the group, as the secondary says; as far as this side knows if it was not reached
	Epoch redoubt.Epoch
	// Told: the secondary has agreed. Otherwise it is told at the next contact.
	Told bool
}

// askTime bounds the wait for the secondary's answer: what needs none is in
// effect before.
const askTime = 10 * time.Second

// Operate carries out ship.AskPause, AskResume, AskUnprotect or AskProtect. A
// pause is in effect on return, also when the secondary cannot be reached; a
// resumption then waits for the next contact; the others fail with
// redoubt.ErrUnavailable. With alone an unprotection does not wait for the
// secondary either: the journal lets go at once of what was not shipped.
// ErrState: the secondary refuses.
func (g *Group) Operate(ctx context.Context, op, by, reason string, alone bool) (Outcome, error) {
	if len(reason) > ship.MaxReason {
		return Outcome{}, &redoubt.Error{Op: op, Object: string(g.cfg.Name), Err: fmt.Errorf("the reason is longer than %d bytes: %w", ship.MaxReason, redoubt.ErrInvalid)}
	}
	ask := &ship.Ask{Op: op, By: by, Reason: reason}
	waits := op == ship.AskPause || op == ship.AskResume || op == ship.AskUnprotect && alone
	if waits && g.Role().Mode == ModeWriter {
		if err := g.begin(ask, alone); err != nil {
			return Outcome{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	w, err := g.askFor(ctx, ask)
	switch {
	case err != nil && waits && g.Role().Mode == ModeWriter:
		g.log.Warn("the secondary hears of it at the next contact", "operation", op, "err", err, "hint", redoubt.Hint(err))
		return Outcome{State: g.stateHere(), Epoch: g.Role().Epoch}, nil
	case err != nil:
		return Outcome{}, err
	case w.Answer == nil:
		return Outcome{}, &redoubt.Error{Op: op, Object: string(g.cfg.Name), Err: redoubt.ErrVersion, Hint: "the secondary does not know the request: install the newer redoubtd there first"}
	}
	refused := w.Answer.Err(op, g.cfg.Name)
	g.keepWelcome(w)
	if g.Role().Mode == ModeWriter {
		if _, err := g.heed(w); err != nil && refused == nil {
			return Outcome{}, err
		}
	}
	return Outcome{State: w.State, Epoch: w.Epoch, Told: true}, refused
}

// begin puts into effect what does not wait for the secondary, and remembers
// that it is to be told.
func (g *Group) begin(ask *ship.Ask, alone bool) error {
	g.step.Lock()
	defer g.step.Unlock()
	h := g.heldBack()
	switch {
	case ask.Op == ship.AskPause && h.State == stateUnprotected:
		return &redoubt.Error{Op: ask.Op, Object: string(g.cfg.Name), Err: fmt.Errorf("the group is %s: %w", h.State, redoubt.ErrState), Hint: "nothing is shipped"}
	case ask.Op == ship.AskPause:
		h.Hold = ship.Hold{State: statePaused, By: ask.By, Since: g.host.Now().UnixNano(), Reason: ask.Reason}
	case ask.Op == ship.AskUnprotect && alone:
		h.Hold = ship.Hold{State: stateUnprotected, By: ask.By, Since: g.host.Now().UnixNano(), Reason: ask.Reason}
	}
	h.Ask = ask
	return g.setHold(h)
}

// askFor asks the secondary for an operation.
func (g *Group) askFor(ctx context.Context, ask *ship.Ask) (ship.Welcome, error) {
	w, err := g.askOf(ctx, ask, nil)
	if err != nil {
		var re *redoubt.Error
		if errors.As(err, &re) && ask.Op == ship.AskUnprotect {
			re.Hint = "to end it here alone, for good: redoubt group unprotect --alone " + string(g.cfg.Name) + "; " + re.Hint
		}
		return w, err
	}
	return w, nil
}

func (g *Group) stateHere() string { return g.heldBack().State }
