package pki

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

func authority(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ca")
	if err := InitCA(dir, "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	return dir
}

func credentials(t *testing.T, ca string, id Identity, now time.Time) *Credentials {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	if err := issue(ca, dir, id, []string{"localhost", "127.0.0.1"}, now, time.Minute); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shake does a handshake over TCP and returns what each side says. The client
// also reads, because in TLS 1.3 it learns there what the server thinks of it.
func shake(t *testing.T, server, client *tls.Config) (peer Identity, serr, cerr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		err = s.Handshake()
		if err == nil {
			peer, err = PeerIdentity(s.ConnectionState())
			s.Write([]byte{1})
		}
		s.Read(make([]byte, 1))
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(raw, client)
	if cerr = c.Handshake(); cerr == nil {
		_, cerr = c.Read(make([]byte, 1))
	}
	raw.Close()
	serr = <-done
	return peer, serr, cerr
}

func TestMutualHandshake(t *testing.T) {
	ca := authority(t)
	now := time.Now()
	target := credentials(t, ca, Identity{RoleTarget, "n1"}, now)
	source := credentials(t, ca, Identity{RoleSource, "host1"}, now)
	peer, serr, cerr := shake(t, target.ServerTLS("p"), source.ClientTLS("p", RoleTarget))
	if serr != nil || cerr != nil || peer != (Identity{RoleSource, "host1"}) {
		t.Fatal(serr, cerr, peer)
	}
}

func TestHandshakesRefused(t *testing.T) {
	ca, now := authority(t), time.Now()
	target := credentials(t, ca, Identity{RoleTarget, "n1"}, now)
	source := credentials(t, ca, Identity{RoleSource, "host1"}, now)
	stranger := credentials(t, authority(t), Identity{RoleSource, "host1"}, now)
	old := credentials(t, ca, Identity{RoleSource, "old"}, now.Add(-48*time.Hour))
	oldTarget := credentials(t, ca, Identity{RoleTarget, "old"}, now.Add(-48*time.Hour))
	tls12 := source.ClientTLS("p")
	tls12.MinVersion, tls12.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	nameless := source.ClientTLS("p")
	nameless.Certificates = nil

	for name, c := range map[string]struct {
		server, client *tls.Config
		atServer       bool // who must say it
		say            string
	}{
		"wrong role":            {source.ServerTLS("p"), target.ClientTLS("p", RoleTarget), false, "role source, want [target]"},
		"unknown CA at server":  {target.ServerTLS("p"), stranger.ClientTLS("p"), true, ""},
		"expired client":        {target.ServerTLS("p"), old.ClientTLS("p"), false, "our certificate has expired"},
		"expired client, there": {target.ServerTLS("p"), old.ClientTLS("p"), true, "has expired"},
		"expired server":        {oldTarget.ServerTLS("p"), source.ClientTLS("p"), false, "has expired"},
		"no certificate":        {target.ServerTLS("p"), nameless, false, "wants a certificate"},
		"other protocol":        {target.ServerTLS("q"), source.ClientTLS("p"), false, "does not serve this protocol"},
		"TLS 1.2":               {target.ServerTLS("p"), tls12, false, "no common TLS version"},
	} {
		_, serr, cerr := shake(t, c.server, c.client)
		err := Explain(cerr)
		if c.atServer {
			err = Explain(serr)
		}
		if !errors.Is(err, redoubt.ErrDenied) || redoubt.Hint(err) == "" || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: client %v, server %v; explained %v, hint %q", name, cerr, serr, err, redoubt.Hint(err))
		}
	}
}

func TestFiles(t *testing.T) {
	ca := authority(t)
	if err := InitCA(ca, "test", time.Hour); !errors.Is(err, redoubt.ErrExists) {
		t.Fatalf("second authority: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "n")
	id := Identity{RoleTarget, "n1"}
	if err := Issue(ca, dir, id, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := Issue(ca, dir, id, nil, time.Hour); !errors.Is(err, redoubt.ErrExists) {
		t.Fatalf("second issue: %v", err)
	}
	for _, p := range []string{filepath.Join(ca, CAKeyFile), filepath.Join(dir, NodeKeyFile)} {
		if st, err := os.Stat(p); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v %v", p, st.Mode(), err)
		}
	}
	// ca.crt of another authority
	other, err := os.ReadFile(filepath.Join(authority(t), CACertFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, CACertFile), other, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); !errors.Is(err, redoubt.ErrInvalid) {
		t.Fatalf("mixed folder: %v", err)
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, redoubt.ErrNotFound) || redoubt.Hint(err) == "" {
		t.Fatalf("empty folder: %v", err)
	}
	for _, bad := range []Identity{{"king", "x"}, {RoleSource, "a/b"}, {RoleSource, ""}} {
		if err := Issue(ca, t.TempDir(), bad, nil, time.Hour); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func FuzzReadPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := filepath.Join(t.TempDir(), "x.crt")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := readCert(p); err == nil {
			_, _ = CertificateIdentity(c)
		}
	})
}
