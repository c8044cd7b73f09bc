package ship

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// countedContext counts the contexts that hang on it and have not been ended.
type countedContext struct {
	context.Context
	done chan struct{} // another than Context's, so that AfterFunc is asked
	n    atomic.Int64
}

func (c *countedContext) Done() <-chan struct{} { return c.done }

func (c *countedContext) AfterFunc(func()) (stop func() bool) {
	c.n.Add(1)
	var once atomic.Bool
	return func() bool {
		if once.Swap(true) {
			return false
		}
		c.n.Add(-1)
		return true
	}
}

// A sender may try for weeks: an attempt that came to nothing leaves nothing.
func TestSessionLeavesNothing(t *testing.T) {
	w := newWorld(t)
	rec := newRecorder(t)
	s := NewSender(w.options(w.journal(redoubt.Position{Epoch: 1}), ""))
	addr := w.receive(rec, "n1")
	cur, err := openCursor(s.o.Journal, s.o.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	if s.keep, err = openKeeper(s.o.Journal, ""); err != nil {
		t.Fatal(err)
	}
	rec.change(func() { rec.welcome.Gap = true }) // of which the journal knows nothing
	ctx := &countedContext{Context: context.Background(), done: make(chan struct{})}
	for range 3 {
		if _, _, err := s.session(ctx, addr, cur); !errors.Is(err, redoubt.ErrGap) {
			t.Fatal(err)
		}
	}
	if n := ctx.n.Load(); n != 0 {
		t.Errorf("%d contexts were not ended", n)
	}
}

// What was read and then given up goes back like the rest.
func TestLeapLetsGo(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	fill(t, seed(t), j, 10, 4096)
	s := NewSender(w.options(j, ""))
	cur, err := openCursor(j, s.o.Cursor)
	if err != nil {
		t.Fatal(err)
	}
	p := &producer{x: &session{s: s, cur: cur}, next: 1}
	p.x.gap.open = true
	ws, done, err := cur.Lend(nil, 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	back := 0
	p.pending, p.done = ws, func() { done(); back++ }
	for upTo, want := redoubt.LSN(4), 0; upTo <= 10; upTo, want = upTo+6, want+1 {
		if err := cur.GiveUp(upTo); err != nil {
			t.Fatal(err)
		}
		if err := p.leap(NewBuilder("g1", 1, s.comp)); err != nil {
			t.Fatal(err)
		}
		if left := int(10 - upTo); p.next != upTo+1 || len(p.pending) != left || back != want {
			t.Errorf("after %d: %d is next, %d left, given back %d times", upTo, p.next, len(p.pending), back)
		}
	}
}
