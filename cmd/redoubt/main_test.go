package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"redoubt": main})
}

// Each script has a node of its own: on a unix socket, which is the default
// server, and at $TLS, with certificates in $ID/ROLE.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			id := filepath.Join(e.WorkDir, "id")
			socket := filepath.Join(e.WorkDir, "run", "admin.sock")
			addr, err := serve(e, id, socket)
			e.Setenv("ID", id)
			e.Setenv("TLS", "https://"+addr)
			e.Setenv("SOCKET", socket)
			e.Setenv("REDOUBT_SERVER", "unix:"+socket)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"json": checkJSON,
			"mode": checkMode, "mkjournal": makeJournal, "mkshards": makeShards, "flip": flip,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "nbd" {
				_, err := os.Stat("/dev/nbd0")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

func serve(e *testscript.Env, id, socket string) (addr string, err error) {
	err = pki.InitCA(filepath.Join(id, "ca"), "test", time.Hour)
	for _, r := range pki.Roles() {
		err = errors.Join(err, pki.Issue(filepath.Join(id, "ca"), filepath.Join(id, string(r)), pki.Identity{Role: r, Name: "me"}, nil, time.Hour))
	}
	if err != nil {
		return "", err
	}
	cred, err := pki.Load(filepath.Join(id, "target"))
	if err != nil {
		return "", err
	}
	log := slog.New(slog.DiscardHandler)
	srv := admin.NewServer(admin.ServerOptions{Service: newSite(), Logger: log})
	ul, err := admin.ListenUnix(socket)
	if err != nil {
		return "", err
	}
	mux, err := netmux.Listen("127.0.0.1:0", cred, log)
	if err != nil {
		return "", err
	}
	done := make(chan error, 2)
	for _, l := range []net.Listener{ul, mux.Listener(netmux.ProtoAdmin)} {
		go func() { done <- srv.Serve(l) }()
	}
	e.Defer(func() {
		_ = srv.Shutdown(context.Background())
		<-done
		<-done
		_ = mux.Close()
	})
	return mux.Addr().String(), nil
}

// checkJSON: json FILE PATH VALUE — FILE ("stdout", "stderr") is exactly one
// JSON document whose element at PATH, such as groups.0.state, prints as VALUE.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: json FILE PATH VALUE")
	}
	var doc any
	text := ts.ReadFile(args[0])
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		ts.Fatalf("not one JSON document: %v\n%s", err, text)
	}
	for _, key := range strings.Split(args[1], ".") {
		switch v := doc.(type) {
		case map[string]any:
			w, ok := v[key]
			if !ok {
				ts.Fatalf("no %q in %v", key, v)
			}
			doc = w
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(v) {
				ts.Fatalf("no element %q in %v", key, v)
			}
			doc = v[i]
		default:
			ts.Fatalf("%q: %v has no elements", key, doc)
		}
	}
	if got := fmt.Sprint(doc); got != args[2] {
		ts.Fatalf("%s is %q, want %q", args[1], got, args[2])
	}
}

// checkMode: mode FILE OCTAL.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", st.Mode().Perm()); got != args[1] != neg {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

func TestExitCodes(t *testing.T) {
	for sentinel, want := range map[error]int{
		redoubt.ErrInvalid: 2, redoubt.ErrOutOfRange: 2, redoubt.ErrNotFound: 3, redoubt.ErrState: 4, redoubt.ErrFenced: 4, redoubt.ErrReadOnly: 4, redoubt.ErrExists: 4,
		redoubt.ErrUnavailable: 5, redoubt.ErrClosed: 5, context.DeadlineExceeded: 5, redoubt.ErrDenied: 6, redoubt.ErrCorrupt: 7, redoubt.ErrGap: 7,
		redoubt.ErrFailed: 1, redoubt.ErrJournalFull: 1, redoubt.ErrVersion: 1, errors.New("x"): 1,
	} {
		if got := exitCode(&redoubt.Error{Op: "x", Err: sentinel}); got != want {
			t.Errorf("%v: %d, want %d", sentinel, got, want)
		}
	}
}

func TestHuman(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536 << 20: "1.5 GiB", 1<<20 - 1: "1.0 MiB", 1 << 60: "1024.0 PiB"} {
		if got := iec(n); got != want {
			t.Errorf("iec(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0.0s", 400 * time.Millisecond: "0.4s", 12 * time.Second: "12s", 200 * time.Second: "3m20s",
		5*time.Hour + 10*time.Minute: "5h10m", 76 * time.Hour: "3d4h", -2 * time.Second: "-2.0s"} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
