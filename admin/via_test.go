package admin

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// relay forwards GetStatus to next, and notes who has forwarded a StreamBranch.
type relay struct {
	Elsewhere
	name, next string
	calls      int
	mu         sync.Mutex
	via        []string
}

func (r *relay) forward(ctx context.Context) (*Client, error) {
	return Forward(ctx, r.name, r.next, func(target string) (*Client, error) { return Dial(target, nil) })
}

func (r *relay) GetStatus(ctx context.Context, q *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	r.mu.Lock()
	r.calls++
	r.mu.Unlock()
	c, err := r.forward(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.GetStatus(ctx, q)
}

func (r *relay) StreamBranch(ctx context.Context, _ *adminv1.StreamBranchRequest, _ *connect.ServerStream[adminv1.StreamBranchResponse]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.via = ForwardedBy(ctx)
	return nil
}

// A call that comes back to a node that has forwarded it goes round no more.
func TestForwardedCallsDoNotGoRound(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return "unix:" + filepath.Join(dir, name) }
	t1, t2 := &relay{name: "t1", next: at("t2")}, &relay{name: "t2", next: at("t1")}
	var ended sync.WaitGroup
	t.Cleanup(ended.Wait) // after both are shut down
	for _, r := range []*relay{t1, t2} {
		l, err := ListenUnix(filepath.Join(dir, r.name))
		must(t, err)
		srv := NewServer(ServerOptions{Service: r, Logger: slog.New(slog.DiscardHandler)})
		ended.Go(func() {
			if err := srv.Serve(l); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = srv.Shutdown(ctx)
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Dial(at("t1"), nil)
	must(t, err)
	defer c.Close()
	_, err = c.GetStatus(ctx, &adminv1.GetStatusRequest{})
	if !errors.Is(err, redoubt.ErrState) || redoubt.Hint(err) == "" || !strings.Contains(err.Error(), "t1, t2") {
		t.Errorf("%v (%s)", err, redoubt.Hint(err))
	}
	if t1.calls != 2 || t2.calls != 1 {
		t.Errorf("t1 was called %d times, t2 %d times", t1.calls, t2.calls)
	}
	f, err := t1.forward(ctx)
	must(t, err)
	defer f.Close()
	if err := f.ReadBranch(ctx, "db", "x", func([]redoubt.Write) error { return nil }); err == nil {
		t.Error("an empty branch was read")
	}
	if !slices.Equal(t2.via, []string{"t1"}) {
		t.Errorf("a stream was forwarded by %q", t2.via)
	}
}
