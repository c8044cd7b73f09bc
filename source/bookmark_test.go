package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

func TestBookmarkKinds(t *testing.T) {
	cfg := nbdConfig(t, "")
	dir := t.TempDir()
	gc := &cfg.Groups[0]
	gc.Hooks = Hooks{Scripts: hook.Dir(dir), Time: time.Minute, Hold: time.Minute}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	g := h.Groups()[0]
	script := func(body string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "10-app"), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	last := func() redoubt.Bookmark {
		t.Helper()
		var b redoubt.Bookmark
		err := g.journal.Replay(g.journal.Head().LSN, func(w *redoubt.Write) (err error) {
			b, err = redoubt.ParseBookmark(w.Data)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := g.Bookmark(t.Context(), "x", BookmarkApp); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("without a script: %v", err)
	}
	script("")
	b, err := g.Bookmark(t.Context(), "good", BookmarkApp)
	if err != nil || !b.App || b.Why != nil || len(b.Hooks.Steps) != 2 || b.Hooks.Frozen <= 0 {
		t.Errorf("%+v, %v", b, err)
	}
	if got := last(); got != (redoubt.Bookmark{Name: "good", App: true}) || b.Position != g.journal.Head() || g.journal.Durable() < b.Position.LSN {
		t.Errorf("the journal has %+v at %v", got, g.journal.Head())
	}
	script("echo sorry; exit 1")
	head := g.journal.Head()
	if _, err := g.Bookmark(t.Context(), "bad", BookmarkApp); !errors.Is(err, redoubt.ErrScript) || g.journal.Head() != head {
		t.Errorf("a hook failed: %v; head %v, was %v", err, g.journal.Head(), head)
	}
	b, err = g.Bookmark(t.Context(), "half", BookmarkAppOrCrash)
	if err != nil || b.App || !errors.Is(b.Why, redoubt.ErrScript) || last() != (redoubt.Bookmark{Name: "half"}) {
		t.Errorf("or crash: %+v, %v, %+v", b, err, last())
	}
	if _, err = g.Bookmark(t.Context(), "plain", BookmarkCrash); err != nil || last().App {
		t.Error(err)
	}
	m := g.Bookmarks()
	if m.App != 1 || m.Crash != 2 || m.Failed != 2 || m.Frozen < m.LastFrozen || m.LastFrozen <= 0 || !m.FrozenSince.IsZero() || m.Err != nil {
		t.Errorf("counted %+v", m)
	}
	script("")
	thaw, err := g.Freeze(t.Context(), "failover")
	if err != nil || g.Bookmarks().FrozenSince.IsZero() {
		t.Fatalf("Freeze: %v", err)
	}
	if r := thaw(); r.Err != nil || len(thaw().Steps) != 2 || !g.Bookmarks().FrozenSince.IsZero() {
		t.Errorf("thaw: %+v", r)
	}
}

// TestScheduledBookmarks lets the schedule run, with a time between two of them
// that the configuration would refuse.
func TestScheduledBookmarks(t *testing.T) {
	cfg := nbdConfig(t, "")
	cfg.Groups[0].BookmarkEvery = 20 * time.Millisecond
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	g := h.Groups()[0]
	g.copy.state.Done = true
	ended := make(chan struct{})
	go func() {
		g.runBookmarks(t.Context())
		close(ended)
	}()
	for g.Bookmarks().Crash < 3 {
		time.Sleep(5 * time.Millisecond)
	}
	var names []string
	_ = g.journal.Replay(1, func(w *redoubt.Write) error {
		names = append(names, string(w.Data))
		return nil
	})
	for _, n := range names {
		if when, err := time.Parse(scheduledName, n); err != nil || time.Since(when) > time.Hour {
			t.Errorf("bookmark %q: %v", n, err)
		}
	}
}

// TestAppBookmarkOfAFileSystem is the judge: the disk at an application-
// consistent bookmark is a file system that needs no recovery and holds what
// was written before; at a crash-consistent one ext4 says that its journal must
// be replayed.
func TestAppBookmarkOfAFileSystem(t *testing.T) {
	cfg, g, mount := mountedGroup(t)
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() { // writes while bookmarks are made
		defer close(ended)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := os.WriteFile(filepath.Join(mount, fmt.Sprint("churn", n%20)), bytes.Repeat([]byte{byte(n)}, 50_000), 0o600); err != nil {
				t.Errorf("a client's write: %v", err)
				return
			}
		}
	}()
	for i, kind := range []BookmarkKind{BookmarkApp, BookmarkCrash, BookmarkApp} {
		name := fmt.Sprint("file", i)
		if err := os.WriteFile(filepath.Join(mount, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := g.Bookmark(t.Context(), "x", kind)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("bookmark at %v, frozen %s", b.Position, b.Hooks.Frozen)
		img := diskAt(t, cfg, g, b.Position.LSN)
		clean := !strings.Contains(run(t, "dumpe2fs", "-h", img), "needs_recovery")
		if clean != (kind == BookmarkApp) {
			t.Errorf("%s: the file system is clean: %v", name, clean)
		}
		if kind == BookmarkApp {
			run(t, "e2fsck", "-fn", img)
			if got := run(t, "debugfs", "-R", "cat /"+name, img); !strings.Contains(got, name) {
				t.Errorf("%s has %q", name, got)
			}
		}
	}
	close(stop)
	<-ended
}

// mountedGroup serves a disk and mounts an ext4 file system on it: through
// nbdfuse and a loop device, which every kernel has.
func mountedGroup(t *testing.T) (Config, *Group, string) {
	t.Helper()
	for _, p := range []string{"nbdfuse", "mkfs.ext4", "dumpe2fs", "fusermount3"} {
		if _, err := exec.LookPath(p); err != nil || os.Geteuid() != 0 {
			t.Skipf("needs root, nbdfuse and e2fsprogs: %v", err)
		}
	}
	cfg := nbdConfig(t, "")
	gc := &cfg.Groups[0]
	gc.JournalMax = 256 << 20 // nothing is trimmed: the test replays it
	img := gc.Disks[0].Path
	if err := os.Truncate(img, 32<<20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", img)
	run(t, "cp", "--sparse=always", img, img+".begin")
	mount := filepath.Join(t.TempDir(), "mount")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	gc.Hooks = Hooks{Mounts: []string{mount}, Time: time.Minute, Hold: time.Minute}
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fuse := exec.Command("nbdfuse", file, "nbd+unix:///d1?socket="+filepath.Join(cfg.RunDir, "g.sock"))
	if err := fuse.Start(); err != nil {
		t.Skipf("nbdfuse: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- fuse.Wait() }()
	t.Cleanup(func() {
		_ = exec.Command("fusermount3", "-u", file).Run()
		<-ended
	})
	for {
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			break
		}
		select {
		case err := <-ended:
			ended <- nil
			t.Skipf("this host has no FUSE: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	run(t, "mount", "-o", "loop", file, mount)
	t.Cleanup(func() { run(t, "umount", mount) })
	return cfg, h.Groups()[0], mount
}

// diskAt plays the journal over the first content of the disk.
func diskAt(t *testing.T, cfg Config, g *Group, upTo redoubt.LSN) string {
	t.Helper()
	b, err := os.ReadFile(cfg.Groups[0].Disks[0].Path + ".begin")
	if err != nil {
		t.Fatal(err)
	}
	err = g.journal.Replay(1, func(w *redoubt.Write) error {
		switch {
		case w.LSN > upTo:
		case w.Kind.Zeroes():
			clear(b[w.Extent.Off:w.Extent.End()])
		case w.Kind == redoubt.KindWrite:
			copy(b[w.Extent.Off:], w.Data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	img := filepath.Join(t.TempDir(), "at")
	if err := os.WriteFile(img, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return img
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
