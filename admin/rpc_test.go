package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a small service: it says what it was asked, and fails as told.
type node struct {
	Elsewhere
	mu    sync.Mutex
	err   error
	panic bool
	peer  Peer
	point string
}

func (n *node) fail(err error) { n.mu.Lock(); n.err = err; n.mu.Unlock() }

func (n *node) GetStatus(ctx context.Context, r *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.peer, _ = PeerFrom(ctx)
	if n.panic {
		panic("on purpose")
	}
	if n.err != nil {
		return nil, n.err
	}
	return &adminv1.GetStatusResponse{Node: &adminv1.NodeInfo{Name: "t1"}}, nil
}

func (n *node) UnplannedFailover(ctx context.Context, r *adminv1.UnplannedFailoverRequest) (*adminv1.UnplannedFailoverResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.point = FormatPoint(r.GetPoint())
	return &adminv1.UnplannedFailoverResponse{TookMs: 7}, nil
}

func (n *node) Failback(ctx context.Context, _ *adminv1.FailbackRequest) (*adminv1.FailbackResponse, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

type site struct {
	node   *node
	socket string
	tls    string
	dir    string // folders of certificates, by role
	log    *bytes.Buffer
}

func startSite(t *testing.T) *site {
	t.Helper()
	s := &site{node: &node{Elsewhere: Elsewhere{Why: "this node is a target", Hint: "ask the source"}}, dir: t.TempDir(), log: &bytes.Buffer{}}
	must(t, pki.InitCA(s.cred("ca"), "test", time.Hour))
	for _, r := range pki.Roles() {
		must(t, pki.Issue(s.cred("ca"), s.cred(string(r)), pki.Identity{Role: r, Name: "me"}, nil, time.Hour))
	}
	logger := slog.New(slog.NewTextHandler(&lockedWriter{w: s.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := NewServer(ServerOptions{Service: s.node, Logger: logger})
	s.socket = filepath.Join(s.dir, "run", "admin.sock")
	ul, err := ListenUnix(s.socket)
	must(t, err)
	mux, err := netmux.Listen("127.0.0.1:0", load(t, s.cred("target")), logger)
	must(t, err)
	s.tls = "https://" + mux.Addr().String()
	var wg sync.WaitGroup
	for _, l := range []net.Listener{ul, mux.Listener(netmux.ProtoAdmin)} {
		wg.Go(func() {
			if err := srv.Serve(l); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		wg.Wait()
		mux.Close()
	})
	return s
}

func (s *site) cred(role string) string { return filepath.Join(s.dir, role) }

func (s *site) dial(t *testing.T, target, role string) *Client {
	t.Helper()
	var cred *pki.Credentials
	if role != "" {
		cred = load(t, s.cred(role))
	}
	c, err := Dial(target, cred)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// Every sentinel, with its hint, arrives as itself over both ways in.
func TestErrorsCrossTheWire(t *testing.T) {
	s := startSite(t)
	clients := map[string]*Client{"unix": s.dial(t, "unix:"+s.socket, ""), "tls": s.dial(t, s.tls, "operator")}
	for _, cond := range conditions() {
		for name, c := range clients {
			t.Run(string(cond.reason)+"/"+name, func(t *testing.T) {
				sent := &redoubt.Error{Op: "open view", Object: "db", Err: fmt.Errorf("shard 3: %w", cond.sentinel), Hint: "do this: " + name}
				s.node.fail(sent)
				_, err := c.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
				if !errors.Is(err, cond.sentinel) || ReasonOf(err) != cond.reason {
					t.Fatalf("got %v (%s), want %v", err, ReasonOf(err), cond.sentinel)
				}
				if err.Error() != sent.Error() || redoubt.Hint(err) != sent.Hint {
					t.Errorf("got  %q, hint %q\nwant %q, hint %q", err, redoubt.Hint(err), sent, sent.Hint)
				}
				// A node that forwards passes on what it was told.
				again := FromConnect("x", "p", ToConnect("p", err))
				if again.Error() != err.Error() || redoubt.Hint(again) != redoubt.Hint(err) || ReasonOf(again) != ReasonOf(err) {
					t.Errorf("forwarded: %v", again)
				}
			})
		}
	}
}

func TestErrorsWithoutSentinel(t *testing.T) {
	s := startSite(t)
	c := s.dial(t, "unix:"+s.socket, "")
	s.node.fail(errors.New("disk on fire"))
	_, err := c.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
	if ReasonOf(err) != ReasonInternal || err.Error() != "GetStatus: disk on fire" {
		t.Errorf("got %v (%s)", err, ReasonOf(err))
	}
	s.node.fail(fmt.Errorf("while starting: %w", &redoubt.Error{Op: "open", Err: redoubt.ErrCorrupt, Hint: "verify"}))
	_, err = c.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
	if !errors.Is(err, redoubt.ErrCorrupt) || redoubt.Hint(err) != "verify" || !strings.Contains(err.Error(), "while starting: open: corrupt") {
		t.Errorf("got %v, hint %q", err, redoubt.Hint(err))
	}
}

func TestPanicIsARefusal(t *testing.T) {
	s := startSite(t)
	c := s.dial(t, "unix:"+s.socket, "")
	s.node.panic = true
	if _, err := c.GetStatus(t.Context(), &adminv1.GetStatusRequest{}); ReasonOf(err) != ReasonInternal {
		t.Errorf("got %v", err)
	}
	s.node.panic = false
	if _, err := c.GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

func TestElsewhere(t *testing.T) {
	s := startSite(t)
	_, err := s.dial(t, "unix:"+s.socket, "").AddBookmark(t.Context(), &adminv1.AddBookmarkRequest{Group: "db"})
	if !errors.Is(err, redoubt.ErrState) || redoubt.Hint(err) != "ask the source" || !strings.HasPrefix(err.Error(), "add bookmark db: this node is a target") {
		t.Errorf("got %v, hint %q", err, redoubt.Hint(err))
	}
}

func TestRoles(t *testing.T) {
	s := startSite(t)
	for role, want := range map[string]struct{ read, write bool }{
		"operator": {true, true}, "target": {true, true}, "viewer": {true, false}, "source": {false, false},
	} {
		c := s.dial(t, s.tls, role)
		_, err := c.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
		if (err == nil) != want.read || err != nil && !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s reads: %v", role, err)
		}
		if err == nil && s.node.peer.String() != role+"/me" {
			t.Errorf("handler was told %q", s.node.peer)
		}
		_, err = c.UnplannedFailover(t.Context(), &adminv1.UnplannedFailoverRequest{})
		if (err == nil) != want.write || err != nil && !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s writes: %v", role, err)
		}
		if err != nil && redoubt.Hint(err) == "" {
			t.Errorf("%s: no hint", role)
		}
	}
	if _, err := s.dial(t, "unix:"+s.socket, "").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil || s.node.peer != (Peer{Local: true, UID: os.Getuid(), PID: os.Getpid()}) {
		t.Errorf("local: %v, %+v", err, s.node.peer)
	}
}

// A client meets an operator's every-day mistakes: each has an error of its own.
func TestNoContact(t *testing.T) {
	s := startSite(t)
	other := t.TempDir()
	must(t, pki.InitCA(filepath.Join(other, "ca"), "other", time.Hour))
	must(t, pki.Issue(filepath.Join(other, "ca"), filepath.Join(other, "op"), pki.Identity{Role: pki.RoleOperator, Name: "x"}, nil, time.Hour))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	free.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	web := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go web.Serve(plain)
	t.Cleanup(func() { web.Close() })
	for _, tc := range []struct {
		name, target, cred string
		is                 error
		hint               string
	}{
		{"no socket", "unix:" + s.socket + "x", "", redoubt.ErrUnavailable, "no such socket"},
		{"nothing listens", "https://" + free.Addr().String(), s.cred("operator"), redoubt.ErrUnavailable, "nothing listens there"},
		{"another authority", s.tls, filepath.Join(other, "op"), redoubt.ErrDenied, "authority"},
		{"plain text", "https://" + plain.Addr().String(), s.cred("operator"), redoubt.ErrUnavailable, "plain-text"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var cred *pki.Credentials
			if tc.cred != "" {
				cred = load(t, tc.cred)
			}
			c, err := Dial(tc.target, cred)
			must(t, err)
			defer c.Close()
			_, err = c.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
			if !errors.Is(err, tc.is) || !strings.Contains(redoubt.Hint(err), tc.hint) {
				t.Errorf("got %v, hint %q; want %v, hint with %q", err, redoubt.Hint(err), tc.is, tc.hint)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.dial(t, s.tls, "operator").Failback(ctx, &adminv1.FailbackRequest{}); ReasonOf(err) != ReasonTimeout {
		t.Errorf("deadline: %v (%s)", err, ReasonOf(err))
	}
}

func TestDialRefuses(t *testing.T) {
	for _, target := range []string{"", "unix:", "http://x:1", "https://x", "x", "https://x:1/path", "ftp://x:1", "x:"} {
		if c, err := Dial(target, &pki.Credentials{}); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%q: %v, %v", target, c, err)
		}
	}
	if _, err := Dial("https://x:1", nil); !errors.Is(err, redoubt.ErrDenied) {
		t.Errorf("without certificate: %v", err)
	}
}

// The service is plain JSON over HTTP for whoever has no client.
func TestJSONOverHTTP(t *testing.T) {
	s := startSite(t)
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.socket)
	}}
	defer tr.CloseIdleConnections()
	body := `{"group":"db","point":{"position":{"epoch":"2","lsn":"9"}}}`
	resp, err := (&http.Client{Transport: tr}).Post("http://localhost/redoubt.admin.v1.AdminService/UnplannedFailover", "application/json", strings.NewReader(body))
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 200 || string(b) != `{"tookMs":"7"}` || s.node.point != "2:9" {
		t.Errorf("%d %s, point %s", resp.StatusCode, b, s.node.point)
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "a.sock")
	l, err := ListenUnix(path)
	must(t, err)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st.Mode(), err)
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", st.Mode(), err)
	}
	if _, err := ListenUnix(path); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("a second daemon: %v", err)
	}
	must(t, l.(*unixListener).UnixListener.Close()) // as after a kill: the file stays
	l, err = ListenUnix(path)
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	must(t, l.Close())
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	must(t, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := ListenUnix(path); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("over a file: %v", err)
	}
}

func load(t *testing.T, dir string) *pki.Credentials {
	t.Helper()
	c, err := pki.Load(dir)
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
