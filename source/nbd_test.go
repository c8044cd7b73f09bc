package source

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func identityFor(t *testing.T, ca string, role pki.Role, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := pki.Issue(ca, dir, pki.Identity{Role: role, Name: name}, []string{"127.0.0.1"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := pki.LinkForNBD(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// nbdConfig is a host with one group of one disk.
func nbdConfig(t *testing.T, listen string, clients ...string) Config {
	t.Helper()
	dir := t.TempDir()
	img := filepath.Join(dir, "img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 1<<20); err != nil {
		t.Fatal(err)
	}
	return Config{Name: "host1", DataDir: filepath.Join(dir, "data"), RunDir: filepath.Join(dir, "run"),
		Dial: func(context.Context, string) (net.Conn, error) { return nil, redoubt.ErrUnavailable },
		Groups: []GroupConfig{{Name: "g", Listen: listen, Clients: clients, K: 1, M: 1, SegmentSize: 1 << 20, JournalMax: 8 << 20,
			Disks: []DiskConfig{{Name: "d1", Path: img}}}}}
}

// TestNBDClients asks a whole source host for its disk, as the holders of
// several certificates.
func TestNBDClients(t *testing.T) {
	if _, err := exec.LookPath("nbdinfo"); err != nil {
		t.Skip("nbdinfo is missing: apt-get install libnbd-bin")
	}
	ca := filepath.Join(t.TempDir(), "ca")
	if err := pki.InitCA(ca, "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	cfg := nbdConfig(t, "127.0.0.1:0", "vm1", "vm3")
	cred, err := pki.Load(identityFor(t, ca, pki.RoleSource, "host1"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = cred
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	addr := h.Groups()[0].listening.String()
	for _, c := range []struct {
		role pki.Role
		name string
		may  bool
	}{
		{pki.RoleClient, "vm1", true}, {pki.RoleClient, "vm3", true}, {pki.RoleClient, "vm2", false},
		{pki.RoleOperator, "vm1", false}, {pki.RoleTarget, "vm1", false}, {pki.RoleSource, "host1", false},
	} {
		out, err := exec.Command("nbdinfo", "--size", "nbds://"+addr+"/d1?tls-certificates="+identityFor(t, ca, c.role, c.name)).CombinedOutput()
		if got := err == nil && strings.TrimSpace(string(out)) == "1048576"; got != c.may {
			t.Errorf("%s/%s: %v %s", c.role, c.name, err, out)
		}
	}
	if out, err := exec.Command("nbdinfo", "--size", "nbd://"+addr+"/d1").CombinedOutput(); err == nil {
		t.Errorf("without TLS: %s", out)
	}
	if out, err := exec.Command("nbdinfo", "--size", "nbd+unix:///d1?socket="+filepath.Join(cfg.RunDir, "g.sock")).CombinedOutput(); err != nil {
		t.Errorf("over the unix socket: %v %s", err, out)
	}
}

func TestNBDAddressesRefused(t *testing.T) {
	for _, c := range []struct {
		listen  string
		clients []string
	}{
		{"0.0.0.0:0", nil},
		{"localhost:0", nil},
		{"0.0.0.0:0", []string{"vm1"}}, // without credentials
		{"", []string{"vm1"}},
	} {
		h, err := Open(nbdConfig(t, c.listen, c.clients...))
		if err == nil {
			h.Close()
			t.Errorf("%+v was accepted", c)
		} else if redoubt.Hint(err) == "" {
			t.Errorf("%+v: no hint: %v", c, err)
		}
	}
}
