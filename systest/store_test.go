package systest

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// `systemctl restart` and `systemctl stop`, with this test as the service manager.
func TestRestartThroughTheDescriptorStore(t *testing.T) {
	b, _ := newSource(t, 16<<20)
	m := b.newManager()
	m.start()
	m.isReady()
	a, s := b.newSteady("a", 256), b.newSteady("b", 256)
	var pauses []time.Duration
	for range restarts(t) {
		s.pause()
		b.must(m.stop())
		// Two connections, the state, and the sockets: NBD twice, admin, metrics, the TLS port.
		if n := m.keeps(); n != 8 {
			t.Fatalf("%d descriptors are kept, want 8", n)
		}
		m.start()
		m.isReady()
		pauses = append(pauses, s.pause())
		if n := m.keeps(); n != 0 {
			t.Fatalf("%d descriptors are still kept: clients would not see their connections end", n)
		}
	}
	p50, top := distribution(pauses)
	t.Logf("pause p50 %v, max %v, with the start of a process", p50.Round(time.Millisecond), top.Round(time.Millisecond))

	// A life that does not come up leaves everything to the next one.
	b.must(m.stop())
	b.reconfigure("disks:", "diskz:")
	m.start()
	if err := m.wait(); err == nil {
		t.Error("a broken configuration was accepted")
	}
	b.reconfigure("diskz:", "disks:")
	m.start()
	m.isReady()
	s.pause()
	b.must(a.end())

	// The end: the store is dropped, and clients see it.
	b.must(m.stop())
	m.drop()
	if err := <-s.done; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the client did not see the end: %v", err)
	}
	m.start()
	m.isReady()
	c, err := oracle.Dial(b.ctx, b.socket(), "b")
	b.must(err)
	s.c = c
	b.must(s.verify())
}

// A configuration that no longer fits closes connections and says why; one that
// is broken is not taken.
func TestReloadWithAnotherConfiguration(t *testing.T) {
	b, tcp := newSource(t, 16<<20)
	b.must(b.site.Source.Start())
	b.serving()
	a, s := b.newSteady("a", 256), b.newSteady("b", 256)
	s.pause()
	b.reconfigure("disks:", "diskz:")
	refused := b.said("restart refused")
	b.must(signalReload(b))
	b.until(func() bool { return b.said("restart refused") > refused })
	s.pause() // it goes on
	b.reconfigure("diskz:", "disks:")

	// Disk a moves to another path: its client must not go on without noticing.
	old := filepath.Join(b.dir, "a")
	b.must(os.Link(old, old+"2"))
	b.reconfigure("path: "+old+"}", "path: "+old+"2}")
	b.reload()
	if err := <-a.done; err == nil {
		t.Error("the client of a moved disk went on")
	}
	if b.said("the export shows another disk now") != 1 {
		t.Errorf("the log does not say why:\n%s", b.site.Source.LogTail(10))
	}
	s.pause()
	b.must(s.end())

	// TCP becomes TLS only: what is plain ends.
	plain := b.overTCP(tcp, "a")
	plain.pause()
	b.reconfigure("nbd: {", "nbd: {clients: [vm1], ")
	b.reload()
	if err := <-plain.done; err == nil {
		t.Error("a plain client went on although the group takes TLS only")
	}
	if b.said("takes no plain TCP clients any more") != 1 {
		t.Errorf("the log does not say why:\n%s", b.site.Source.LogTail(10))
	}
}

// overTCP is newSteady over TCP, on blocks that no other client uses.
func (b *bed) overTCP(addr, disk string) *steady {
	b.Helper()
	l, err := net.Listen("unix", filepath.Join(b.dir, "tcp"))
	b.must(err)
	defer l.Close()
	go func() {
		here, err := l.Accept()
		if err != nil {
			return
		}
		defer here.Close()
		there, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer there.Close()
		go io.Copy(there, here)
		io.Copy(here, there)
	}()
	c, err := oracle.Dial(b.ctx, l.Addr().String(), disk)
	b.must(err)
	return b.steady(c, 1024, 64)
}

// The sockets may be made before the daemon: systemd-socket-activate stands for
// a socket unit.
func TestSocketActivation(t *testing.T) {
	if _, err := exec.LookPath("systemd-socket-activate"); err != nil {
		t.Skip("systemd-socket-activate is not installed: apt-get install systemd")
	}
	b, tcp := newSource(t, 16<<20)
	b.must(os.MkdirAll(filepath.Dir(b.socket()), 0o700))
	cmd := exec.CommandContext(b.ctx, "systemd-socket-activate", "-l", b.socket(), "-l", tcp, filepath.Join(binDir, "redoubtd"), "--config", b.site.Source.Config())
	log, err := os.Create(b.site.Source.LogPath())
	b.must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	b.must(cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	b.until(func() bool { _, err := os.Stat(b.socket()); return err == nil })
	if n := b.said("redoubtd is ready"); n != 0 {
		t.Fatal("the daemon runs before the first client")
	}
	s := b.newSteady("a", 64) // connects, and that starts the daemon
	s.pause()
	inode := func() uint64 { return inodeOf(b, b.socket()) }
	before := inode()
	for range 2 {
		ready := b.said("redoubtd is ready")
		b.must(cmd.Process.Signal(reloadSignal))
		b.until(func() bool { return b.said("redoubtd is ready") > ready })
		s.pause()
	}
	if inode() != before {
		t.Error("the daemon made a socket of its own")
	}
	nc, err := net.Dial("tcp", tcp)
	b.must(err)
	nc.Close()
	b.must(s.end())
}

// A program that answers the check and is gone then: the old one goes on, and
// its clients with it.
func TestReloadWithoutAProgram(t *testing.T) {
	b, _ := newSource(t, 16<<20)
	bin := filepath.Join(b.dir, "redoubtd")
	b.must(os.Link(filepath.Join(binDir, "redoubtd"), bin))
	p := b.launch("sh", "-c", `exec "$0" --config "$1" 2>>"$2"`, bin, b.site.Source.Config(), b.site.Source.LogPath())
	b.until(func() bool { p.runs(); return b.said("redoubtd is ready") == 1 })
	s := b.newSteady("a", 64)
	s.pause()
	b.must(os.Remove(bin))
	b.must(os.WriteFile(bin, []byte("#!/bin/sh\nrm \"$0\"\n"), 0o700))
	for n := range 2 {
		if n == 1 {
			b.must(os.Link(filepath.Join(binDir, "redoubtd"), bin)) // and now it is there
		}
		b.must(p.Process.Signal(reloadSignal))
		b.until(func() bool { p.runs(); return b.said("redoubtd is ready") == n+2 })
		s.pause()
		if got := b.said("the old one goes on"); got != 1 {
			t.Fatalf("reload %d: said %d times that the old one goes on", n, got)
		}
	}
	b.must(s.end())
}
