package systest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// What a broken or hostile NBD client may send: the daemon lives on and other
// clients do not notice.
func TestBadNBDClients(t *testing.T) {
	b := newBed(t)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	x := disk(t, g.Disks, "a")
	option := func(magic uint64, opt, n uint32, body string) string {
		p := binary.BigEndian.AppendUint32(nil, 3)
		p = binary.BigEndian.AppendUint64(p, magic)
		p = binary.BigEndian.AppendUint32(p, opt)
		return string(binary.BigEndian.AppendUint32(p, n)) + body
	}
	const magic = 0x49484156454F5054
	for _, c := range []struct{ name, send string }{
		{"not NBD", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"unknown client flags", "\xff\xff\xff\xff"},
		{"wrong option magic", option(magic+1, 7, 6, "\x00\x00\x00\x00\x00\x00")},
		{"option of 4 GiB", option(magic, 7, 0xffffffff, "")},
		{"option that lies about a name's length", option(magic, 7, 6, "\xff\xff\xff\xff\x00\x00")},
		{"unknown export", option(magic, 1, 4, "nope")},
		{"unknown option, then nothing", option(magic, 99, 0, "")},
	} {
		conn, err := net.Dial("unix", x.Socket)
		b.must(err)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, c.send)
		conn.(*net.UnixConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the server neither answers nor closes", c.name)
		}
		conn.Close()
	}
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	if err := c.Write(make([]byte, 4096), x.Size-512, false); !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a write over the end: %v", err)
	}
	if _, err := c.ReadAt(make([]byte, 512), int64(x.Size)); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a read past the end: %v", err)
	}
	if err := c.Zero(1<<63, 0xffffffff, false); err == nil {
		t.Error("zeroes far past the end were accepted")
	}
	c.Close()
	b.anchor() // nothing of it became a change
	b.change(50)
	b.anchor()
	b.judgeSource()
}

// The one port speaks TLS, and a certificate's role says what it may do.
func TestStrangersAtThePort(t *testing.T) {
	b := newBed(t)
	for _, n := range b.site.Nodes() {
		conn, err := net.Dial("tcp", n.Addr)
		b.must(err)
		conn.SetDeadline(time.Now().Add(15 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		got, _ := io.ReadAll(conn)
		conn.Close()
		if !strings.Contains(string(got), "TLS") {
			t.Errorf("%s says %q to a plain-text client", n.Name, got)
		}
	}
	viewer := filepath.Join(b.dir, "viewer")
	b.must(b.site.Issue(b.ctx, "viewer", "eve", viewer))
	server := "https://" + b.site.Targets[0].Addr
	if _, err := b.site.Run(b.ctx, "--server", server, "--identity", viewer, "status"); err != nil {
		t.Errorf("a viewer may look: %v", err)
	}
	_, err := b.site.Run(b.ctx, "--server", server, "--identity", viewer, "failover", "unplanned", groupName)
	if err == nil || !strings.Contains(err.Error(), "error:") || !strings.Contains(err.Error(), "hint:") {
		t.Errorf("a viewer's failover gives %v; want a refusal with a hint", err)
	}
	// A source's certificate does not make a target.
	src := b.site.Source
	out := refuseToStart(b, b.site.Targets[2].Name, func(cfg string) string {
		return strings.ReplaceAll(cfg, b.site.Targets[2].Dir+"/id", src.Dir+"/id")
	})
	if !strings.Contains(out, "certificate") && !strings.Contains(out, "identity") {
		t.Errorf("the refusal of a wrong certificate: %s", out)
	}
	b.change(50)
	b.committed(b.head().LSN)
}

func TestMisspeltConfiguration(t *testing.T) {
	b := newBed(t)
	out := refuseToStart(b, "s1", func(cfg string) string { return strings.Replace(cfg, "targets:", "tragets:", 1) })
	if !strings.Contains(out, "tragets") || !strings.Contains(out, "targets") || !strings.Contains(out, ":") {
		t.Errorf("the message does not show the way: %s", out)
	}
}

// refuseToStart starts a second daemon with a changed configuration of a node;
// it must end by itself with an error.
func refuseToStart(b *bed, name string, edit func(string) string) string {
	b.Helper()
	n, err := b.site.Node(name)
	b.must(err)
	cfg, err := os.ReadFile(n.Config())
	b.must(err)
	path := filepath.Join(b.dir, "bad.yaml")
	b.must(os.WriteFile(path, []byte(edit(string(cfg))), 0o600))
	cmd := exec.CommandContext(b.ctx, filepath.Join(binDir, "redoubtd"), "--config", path)
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		b.Errorf("redoubtd with a bad configuration: %v\n%s", err, out)
	}
	return string(out)
}
