package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type site struct {
	mux  *netmux.Mux
	srv  *rpc.Server
	pool *rpc.Pool
}

// newSite is a server and a pool over real TLS on loopback.
func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	if err := pki.InitCA(dir+"/ca", "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	cred := func(name string) *pki.Credentials {
		if err := pki.Issue(dir+"/ca", dir+"/"+name, pki.Identity{Role: pki.RoleTarget, Name: name}, nil, time.Hour); err != nil {
			t.Fatal(err)
		}
		c, err := pki.Load(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	log := slog.New(slog.DiscardHandler)
	mux, err := netmux.Listen("127.0.0.1:0", cred("n1"), log)
	if err != nil {
		t.Fatal(err)
	}
	n2 := cred("n2")
	s := &site{mux: mux, srv: rpc.NewServer(log)}
	s.pool = rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, netmux.ProtoPeer, n2, pki.RoleTarget)
	})
	l := mux.Listener(netmux.ProtoPeer, pki.RoleTarget)
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(l) }()
	t.Cleanup(func() {
		s.pool.Close()
		s.srv.Close()
		mux.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

func (s *site) addr() string { return s.mux.Addr().String() }

func TestCalls(t *testing.T) {
	s := newSite(t)
	s.srv.Handle("echo", func(_ context.Context, peer pki.Identity, b []byte) ([]byte, error) {
		return append([]byte(peer.String()+" "), b...), nil
	})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			body := bytes.Repeat([]byte{byte(i)}, 1+i*i*5) // up to 200 KB: both connections
			got, err := s.pool.Call(context.Background(), s.addr(), "echo", body[:len(body)/2], body[len(body)/2:])
			if err != nil || !bytes.Equal(got, append([]byte("target/n2 "), body...)) {
				t.Errorf("call %d: %d bytes, %v", i, len(got), err)
			}
		}()
	}
	wg.Wait()
}

func TestErrorsSurvive(t *testing.T) {
	s := newSite(t)
	s.srv.Handle("fail", func(context.Context, pki.Identity, []byte) ([]byte, error) {
		return nil, &redoubt.Error{Op: "commit", Object: "g", Hint: "do this", Err: fmt.Errorf("epoch 3: %w", redoubt.ErrFenced)}
	})
	_, err := s.pool.Call(context.Background(), s.addr(), "fail")
	if !errors.Is(err, redoubt.ErrFenced) || errors.Is(err, redoubt.ErrGap) || redoubt.Hint(err) != "do this" {
		t.Fatalf("got %v, hint %q", err, redoubt.Hint(err))
	}
	if _, err := s.pool.Call(context.Background(), s.addr(), "nosuch"); !errors.Is(err, redoubt.ErrNotFound) {
		t.Fatalf("unknown method: %v", err)
	}
	if _, err := s.pool.Call(context.Background(), s.addr(), "fail", make([]byte, rpc.MaxBody+1)); !errors.Is(err, redoubt.ErrInvalid) {
		t.Fatalf("oversized body: %v", err)
	}
}

func TestDeadlineAndCancelTravel(t *testing.T) {
	s := newSite(t)
	entered := make(chan time.Duration, 1)
	left := make(chan error, 1)
	s.srv.Handle("hang", func(ctx context.Context, _ pki.Identity, _ []byte) ([]byte, error) {
		var d time.Duration
		if at, ok := ctx.Deadline(); ok {
			d = time.Until(at)
		}
		entered <- d
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_, err := s.pool.Call(ctx, s.addr(), "hang")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("deadline: %v", err)
	}
	if d := <-entered; d <= 0 || d > 300*time.Millisecond {
		t.Fatalf("handler saw %v left", d)
	}
	<-left
	ctx, cancel = context.WithCancel(context.Background())
	go func() { <-entered; cancel() }()
	if _, err := s.pool.Call(ctx, s.addr(), "hang"); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancel: %v", err)
	}
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatalf("handler's context: %v", err)
	}
}

func TestLostConnection(t *testing.T) {
	s := newSite(t)
	entered := make(chan struct{})
	s.srv.Handle("hang", func(ctx context.Context, _ pki.Identity, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	go func() { <-entered; s.mux.Close() }()
	if _, err := s.pool.Call(context.Background(), s.addr(), "hang"); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("lost: %v", err)
	}
	if _, err := s.pool.Call(context.Background(), s.addr(), "hang"); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("nobody there: %v", err)
	}
}

// A peer that accepts and then says nothing costs a caller its own deadline,
// even while a large body is stuck half-way.
func TestSilentPeer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	})
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	naps := napping(t)
	if _, err = p.Call(ctx, l.Addr().String(), "put", make([]byte, 32<<20)); err == nil || naps() > 40 {
		t.Fatalf("after %d naps: %v", naps(), err)
	}
}

// napping counts naps of 50 ms. It is a clock that runs slower, as all does,
// while other programs have the processors.
func napping(t *testing.T) (naps func() int64) {
	var n atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				n.Add(1)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return n.Load
}
