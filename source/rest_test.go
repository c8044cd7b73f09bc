package source

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/ship"
)

// answers is a secondary that says what a test wants, and takes nothing.
type answers struct {
	net.Listener
	say func(ship.Hello) ship.Welcome
}

// asTarget makes cfg's host ask say.
func asTarget(t *testing.T, cfg *Config, say func(ship.Hello) ship.Welcome) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Targets = []string{l.Addr().String()}
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	cfg.DialCompare = func(context.Context, string) (net.Conn, error) { return nil, redoubt.ErrUnavailable }
	a := &answers{l, say}
	r := ship.NewReceiver(ship.ReceiverOptions{Sink: a})
	served := make(chan error, 1)
	go func() { served <- r.Serve(a) }()
	t.Cleanup(func() {
		r.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

func (a *answers) Hello(_ context.Context, _ pki.Identity, h ship.Hello) (ship.Welcome, ship.Stream, error) {
	return a.say(h), nil, nil
}

func (a *answers) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	return fromHost{c}, err
}

type fromHost struct{ net.Conn }

func (fromHost) Identity() pki.Identity { return pki.Identity{Role: pki.RoleSource, Name: "host1"} }

// addDisk gives the group one more disk, full of data, and returns its image.
func addDisk(t *testing.T, cfg *Config, name string, size int) {
	t.Helper()
	image := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(image, bytes.Repeat([]byte{7}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Groups[0].Disks = append(cfg.Groups[0].Disks, DiskConfig{Name: name, Path: image})
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what + ": not after 20 s")
		}
	}
}

// background runs fn again and again until the test is over, or until end.
func background(t *testing.T, fn func()) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fn()
		}
	}()
	end = func() { cancel(); <-done }
	t.Cleanup(end)
	return end
}

// A resynchronisation moves the journal's cursor, as if everything had arrived, and
// voids the records. A disk that is being added must not take that for its copy's
// arrival and say in the new epoch that it has joined.
func TestJoinRestsForResync(t *testing.T) {
	cfg := nbdConfig(t, "")
	h, g := openOne(t, cfg)
	if err := g.disks.Volumes()[0].Write(make([]byte, 4096), 0, true); err != nil {
		t.Fatal(err)
	}
	if err := g.copy.finish(1); err != nil {
		t.Fatal(err)
	}
	if err := g.secondary().Ack(1); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	addDisk(t, &cfg, "more", 1<<20)
	announced := make(chan struct{})
	lineage := redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: 1}}
	asTarget(t, &cfg, func(h ship.Hello) ship.Welcome {
		w := ship.Welcome{Epoch: 1, Lineage: lineage[:1], Writer: "source/host1"}
		if h.Epoch == 1 && !h.Probe {
			select {
			case <-announced:
			case <-t.Context().Done(): // the test has failed
			}
			w.Epoch, w.Lineage, w.Compare, w.UUID = 2, lineage, redoubt.Position{Epoch: 1, LSN: 1}, h.UUID
		} else if h.Epoch == 2 {
			w.Epoch, w.Lineage = 2, lineage
		}
		return w
	})
	h, g = openOne(t, cfg)
	defer h.Close()
	background(t, func() { g.noteAck(); time.Sleep(50 * time.Microsecond) }) // who waits for the secondary looks at once
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { h.Run(ctx); close(ran) }()
	eventually(t, "the copy of the new disk is announced", func() bool { return g.journal.Head().LSN == 1+1<<20/copyExtent })
	close(announced)
	eventually(t, "the resynchronisation begins", func() bool { return g.Role().Epoch == 2 })
	stop()
	<-ran
	err := g.journal.Replay(2, func(w *redoubt.Write) error {
		if w.Kind == redoubt.KindJoin {
			t.Errorf("LSN %d of epoch 2: the disk has joined, and nothing of it was copied in this epoch", w.LSN)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A group that is protected anew is copied whole. A copy that was under way before
// must not go on in the new epoch, with a cursor that has moved meanwhile, and end
// it with its own baseline.
func TestCopyRestsForAnew(t *testing.T) {
	cfg := nbdConfig(t, "")
	addDisk(t, &cfg, "d2", 8<<20)
	asTarget(t, &cfg, func(h ship.Hello) ship.Welcome { // takes nothing
		return ship.Welcome{Epoch: h.Epoch, Writer: "source/host1"}
	})
	h, g := openOne(t, cfg)
	defer h.Close()
	for range copyAheadAll / copyAheadLeast { // others copy, too
		defer g.host.room.enter()()
	}
	background(t, func() { g.noteAck(); time.Sleep(50 * time.Microsecond) })
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { h.Run(ctx); close(ran) }()
	eventually(t, "half of the copy is announced", func() bool { return g.journal.Head().LSN >= copyAheadLeast/copyExtent })

	at := redoubt.LSN(1000)
	lineage := redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: at}}
	if !g.obey(ship.Welcome{Epoch: 2, Lineage: lineage, Writer: "source/host1", Anew: 2, UUID: g.uuid()}) {
		t.Fatal("the role stays")
	}
	eventually(t, "the copy of the new epoch is announced", func() bool {
		return g.Role().Epoch == 2 && g.journal.Head().LSN >= at+copyAheadLeast/copyExtent
	})
	stop()
	<-ran
	end := map[redoubt.DiskID]uint64{}
	err := g.journal.Replay(at+1, func(w *redoubt.Write) error {
		switch {
		case w.Kind == redoubt.KindBaseline:
			t.Errorf("LSN %d says that the copy is complete, after %d bytes", w.LSN, end[2])
		case w.Kind == redoubt.KindCopy && w.Extent.Off != end[w.Disk]:
			t.Errorf("LSN %d copies %s of disk %d, the copy is at %d", w.LSN, w.Extent, w.Disk, end[w.Disk])
		}
		end[w.Disk] = w.Extent.End()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
