package journal

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A trim and a sync that are under way when the journal is reset must not take
// its new state for the old one, or the old for the new.
func TestResetMeetsWorkInFlight(t *testing.T) {
	for n := range 100 {
		w := newWorld(t, uint64(n), vfs.NewMem())
		w.o.SegmentSize, w.o.MaxBytes = MinSegmentSize, 16*MinSegmentSize
		w.mustOpen()
		c, err := w.j.Cursor("c", 0)
		if err != nil {
			t.Fatal(err)
		}
		for w.j.Stats().UsedBytes < 4*MinSegmentSize {
			if err := w.append(8, 128<<10); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.j.Sync(ctx, w.last-1); err != nil {
			t.Fatal(err)
		}
		var others sync.WaitGroup
		others.Go(func() {
			_ = c.Ack(w.last - 1) // refused behind the reset
			w.j.SetApplied(w.last - 1)
		})
		until, give := context.WithCancel(ctx)
		others.Go(func() { _ = w.j.Sync(until, w.last) }) // behind the reset it would wait for a record that never comes
		for range w.rng.IntN(200) {
			runtime.Gosched()
		}
		p := redoubt.Position{Epoch: 7, LSN: 3}
		if err := w.j.Reset(p); err != nil {
			t.Fatal(err)
		}
		give()
		others.Wait()
		if w.j.Head() != p || w.j.Tail() != p.LSN+1 || w.j.Durable() != p.LSN {
			t.Fatalf("round %d: head %s, tail %d, durable %d", n, w.j.Head(), w.j.Tail(), w.j.Durable())
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.mustOpen()
		if w.j.Head() != p || w.j.Tail() != p.LSN+1 {
			t.Fatalf("round %d, opened again: head %s, tail %d", n, w.j.Head(), w.j.Tail())
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
