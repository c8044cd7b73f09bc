package netmux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type certs struct {
	t   *testing.T
	dir string
}

func newCerts(t *testing.T) certs {
	dir := t.TempDir()
	if err := pki.InitCA(filepath.Join(dir, "ca"), "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	return certs{t, dir}
}

func (c certs) of(r pki.Role, name string) *pki.Credentials {
	c.t.Helper()
	out := filepath.Join(c.dir, string(r)+"-"+name)
	if err := pki.Issue(filepath.Join(c.dir, "ca"), out, pki.Identity{Role: r, Name: name}, nil, time.Hour); err != nil {
		c.t.Fatal(err)
	}
	cred, err := pki.Load(out)
	if err != nil {
		c.t.Fatal(err)
	}
	return cred
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func listen(t *testing.T, cred *pki.Credentials, lim netmux.Limits) (*netmux.Mux, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	m, err := netmux.ListenLimits("127.0.0.1:0", cred, slog.New(slog.NewTextHandler(log, nil)), lim)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, log
}

// greeter sends each connection's proto and peer, then closes it.
func greeter(t *testing.T, l net.Listener) {
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			nc := c.(*netmux.Conn)
			io.WriteString(c, nc.Proto()+" "+nc.Identity().String())
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); wg.Wait() })
}

func TestProtocolsApart(t *testing.T) {
	c := newCerts(t)
	m, _ := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{})
	greeter(t, m.Listener(netmux.ProtoShip, pki.RoleSource, pki.RoleTarget))
	greeter(t, m.Listener(netmux.ProtoRaft, pki.RoleTarget))
	admin := m.Listener(netmux.ProtoAdmin)
	hs := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := pki.PeerIdentity(*r.TLS)
		io.WriteString(w, r.Proto+" "+id.String())
		if err != nil {
			t.Error(err)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(admin) }()
	defer func() { hs.Close(); <-served }()

	addr := m.Addr().String()
	source := c.of(pki.RoleSource, "host1")
	for _, x := range []struct {
		proto string
		cred  *pki.Credentials
		want  string
	}{
		{netmux.ProtoShip, source, "redoubt-ship/1 source/host1"},
		{netmux.ProtoRaft, c.of(pki.RoleTarget, "n2"), "redoubt-raft/1 target/n2"},
	} {
		conn, err := netmux.Dial(context.Background(), addr, x.proto, x.cred, pki.RoleTarget)
		if err != nil {
			t.Fatal(err)
		}
		if id := conn.(*netmux.Conn).Identity(); id != (pki.Identity{Role: pki.RoleTarget, Name: "n1"}) {
			t.Fatalf("server is %v", id)
		}
		b, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || string(b) != x.want {
			t.Fatalf("%s: %q, %v", x.proto, b, err)
		}
	}
	operator := c.of(pki.RoleOperator, "o")
	for _, h2 := range []bool{true, false} {
		tr := &http.Transport{TLSClientConfig: operator.ClientTLS(""), ForceAttemptHTTP2: h2}
		if !h2 {
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[h2] + " operator/o"; !strings.HasPrefix(string(b), want) {
			t.Fatalf("admin: %q, want %q", b, want)
		}
	}
	// A role that may not, with a reason for the client.
	_, err := netmux.Dial(context.Background(), addr, netmux.ProtoRaft, source, pki.RoleTarget)
	if !errors.Is(err, redoubt.ErrDenied) || !strings.Contains(redoubt.Hint(err), "role source") {
		t.Fatalf("wrong role: %v, hint %q", err, redoubt.Hint(err))
	}
	// A protocol that nobody serves.
	if _, err := netmux.Dial(context.Background(), addr, netmux.ProtoPeer, source); !errors.Is(err, redoubt.ErrDenied) || redoubt.Hint(err) == "" {
		t.Fatalf("unserved protocol: %v", err)
	}
	// A server of a role that was not meant.
	if _, err := netmux.Dial(context.Background(), addr, netmux.ProtoShip, source, pki.RoleSource); !errors.Is(err, redoubt.ErrDenied) {
		t.Fatalf("wrong server: %v", err)
	}
	// A client of another authority.
	if _, err := netmux.Dial(context.Background(), addr, netmux.ProtoShip, newCerts(t).of(pki.RoleSource, "host1")); !errors.Is(err, redoubt.ErrDenied) {
		t.Fatalf("unknown authority: %v", err)
	}
}

func TestPlainTextIsTold(t *testing.T) {
	c := newCerts(t)
	m, log := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Handshake: 300 * time.Millisecond})
	greeter(t, m.Listener(netmux.ProtoShip))
	for name, say := range map[string]string{"http": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "text": "hello\n", "silent": ""} {
		conn, err := net.Dial("tcp", m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, say)
		b, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(b), "this port speaks TLS") {
			t.Errorf("%s: %q", name, b)
		}
		if strings.HasPrefix(string(b), "HTTP/1.1 400") != (name == "http") {
			t.Errorf("%s: %q", name, b)
		}
	}
	if !log.has("plain-text client refused") || !log.has("TLS 1.3 with client certificates only") {
		t.Error("not logged")
	}
}

func TestConnectionLimit(t *testing.T) {
	c := newCerts(t)
	m, log := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Conns: 1})
	l := m.Listener(netmux.ProtoShip)
	cred := c.of(pki.RoleSource, "s")
	first, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, cred)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	mine, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, cred); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("second: %v", err)
	}
	if !log.has("too many are open") {
		t.Error("not logged")
	}
	mine.Close() // gives the slot back
	second, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, cred)
	if err != nil {
		t.Fatalf("after one was closed: %v", err)
	}
	second.Close()
}

func TestDialErrors(t *testing.T) {
	c := newCerts(t)
	cred := c.of(pki.RoleSource, "s")
	if _, err := netmux.Dial(context.Background(), "127.0.0.1:1", netmux.ProtoShip, cred); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("nobody there: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, "220 mail.example.org ESMTP\r\n")
		}
	}()
	if _, err := netmux.Dial(context.Background(), l.Addr().String(), netmux.ProtoShip, cred); !errors.Is(err, redoubt.ErrDenied) || !strings.Contains(redoubt.Hint(err), "plain-text") {
		t.Fatalf("plain-text server: %v, hint %q", err, redoubt.Hint(err))
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := netmux.Dial(ctx, silent.Addr().String(), netmux.ProtoShip, cred); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("silent server: %v", err)
	}
}
