package source

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// A writer with a lease writes only while the lease lasts, begins without one,
// and goes on when it is granted again.
func TestLease(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	cfg := nbdConfig(t, "")
	cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	pass := func(d time.Duration) {
		mu.Lock()
		now = now.Add(d)
		mu.Unlock()
	}
	cfg.Dial = func(context.Context, string) (net.Conn, error) { return nil, errors.New("no way there") }
	cfg.Groups[0].Lease = time.Minute
	h, g := openOne(t, cfg)
	defer h.Close()
	ctx := t.Context()
	write := func(want error) {
		t.Helper()
		if err := g.disks.Volumes()[0].Write(make([]byte, 4096), 0, false); !errors.Is(err, want) {
			t.Fatalf("a write: %v, want %v", err, want)
		}
	}
	grant := func() {
		g.mu.Lock()
		g.contactAt = cfg.Now()
		g.mu.Unlock()
		g.beginLease()
		g.mu.Lock()
		g.lease.over = true // as it was: applyLease is what lets go
		g.mu.Unlock()
		g.applyLease(ctx)
	}
	write(redoubt.ErrReadOnly)
	g.askForLease(ctx, now) // nobody answers
	write(redoubt.ErrReadOnly)
	if redoubt.Hint(g.disks.ReadOnly()) == "" {
		t.Error("no hint")
	}
	grant()
	write(nil)
	pass(48 * time.Second) // of 60, less a tenth and what a question may last
	g.applyLease(ctx)
	write(nil)
	pass(2 * time.Second)
	g.applyLease(ctx)
	write(redoubt.ErrReadOnly)
	grant()
	write(nil)
	pass(2 * time.Minute) // the host stood still: nobody has looked
	write(redoubt.ErrReadOnly)
	grant()
	write(nil)
	r := g.Role()
	r.Mode = ModeFenced
	if err := g.setRole(r); err != nil {
		t.Fatal(err)
	}
	if err := g.readOnlyError(); !errors.Is(err, redoubt.ErrFenced) {
		t.Errorf("a fence under a lease: %v", err)
	}
}
