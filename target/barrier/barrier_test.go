package barrier

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// host is a writer that forgets that it has frozen when its daemon starts again.
type host struct {
	restarts bool // between Freeze and Hold
	frozen   time.Duration
	aborted  int
}

func (h *host) Group() redoubt.GroupID { return "g" }

func (h *host) Freeze(context.Context) error {
	h.frozen = time.Second
	return nil
}

func (h *host) Hold(context.Context, time.Duration) (redoubt.Position, error) {
	if h.restarts {
		h.frozen = 0
	}
	return redoubt.Position{Epoch: 1, LSN: 7}, nil
}

func (h *host) Release(context.Context) (Released, error) {
	return Released{Position: redoubt.Position{Epoch: 1, LSN: 7}, Held: time.Millisecond, Frozen: h.frozen}, nil
}

func (h *host) Abort(context.Context) error {
	h.aborted++
	return nil
}

// A member whose daemon starts again before the hold is not at rest any more: its
// bookmark is there, and the set may not be called application-consistent.
func TestAMemberThatForgotItsFreezeVoidsTheSet(t *testing.T) {
	for _, c := range []struct{ app, restarts, void bool }{{true, false, false}, {true, true, true}, {false, true, false}} {
		a, b := &host{}, &host{restarts: c.restarts}
		_, err := Run(t.Context(), []Peer{a, b}, Options{App: c.app})
		if c.void != errors.Is(err, redoubt.ErrState) || !c.void && err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if want := 1; c.void && a.aborted != want+1 {
			t.Errorf("%+v: aborted %d times", c, a.aborted)
		}
	}
}
