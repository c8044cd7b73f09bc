package fsload

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lived returns a load that ran for a while in a plain folder, and a file of it
// that is synced, under a durable name.
func lived(t *testing.T) (*Load, string) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := New(t.TempDir(), seed)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	for l.Acknowledged() < 100 && len(done) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w := l.workers[0]
	if w.folder.now("f0") == nil {
		if err := w.create("f0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.write("f0", w.folder.now("f0")); err != nil {
		t.Fatal(err)
	}
	if err := w.syncAll(); err != nil {
		t.Fatal(err)
	}
	return l, w.path("f0")
}

// Without a crash everything is there; and again, after the load went on.
func TestNothingLost(t *testing.T) {
	l, _ := lived(t)
	for range 3 {
		files, bytes, err := l.Judge()
		if err != nil || files == 0 || bytes == 0 {
			t.Fatalf("%d files, %d bytes: %v", files, bytes, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// What the judge must see.
func TestJudgeSees(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(t *testing.T, path string) error
		says string
	}{
		"a lost file":   {func(t *testing.T, p string) error { return os.Remove(p) }, "gone"},
		"a lost tail":   {func(t *testing.T, p string) error { return os.Truncate(p, size(t, p)-CellSize) }, "cells of"},
		"a flipped bit": {func(t *testing.T, p string) error { return patch(p, func(b []byte) { b[77] ^= 1 }) }, "not what any write put there"},
		"a hole":        {func(t *testing.T, p string) error { return patch(p, func(b []byte) { clear(b) }) }, "is of write 0"},
		"an old write":  {func(t *testing.T, p string) error { return patch(p, older) }, "must be of"},
		"another file":  {func(t *testing.T, p string) error { return os.Rename(sibling(t, p), p) }, "not what it must be"},
		"a resurrected name": {func(t *testing.T, p string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(p), "new"), nil, 0o600)
		}, "never made"},
	} {
		t.Run(name, func(t *testing.T) {
			l, path := lived(t)
			w := l.workers[0]
			f := w.folder.now("f0")
			if err := w.with("f0", func(fd *os.File) error { // the first cell is a write, and no hole
				f.writes++
				f.set(0, 1, f.writes)
				p := make([]byte, CellSize)
				fillCells(p, f.id, f.writes, 0)
				_, err := fd.WriteAt(p, 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := w.syncAll(); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(t, path); err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.Judge(); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("the judge says %v, want %q", err, c.says)
			}
		})
	}
}

// What a crash may leave passes: a change after the last sync, done or not.
func TestUnsyncedMayGoEitherWay(t *testing.T) {
	for _, keep := range []bool{true, false} {
		l, path := lived(t)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		w := l.workers[0]
		f := w.folder.now("f0")
		for range 5 {
			if err := w.write("f0", f); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.rename("f0", "f1"); err != nil {
			t.Fatal(err)
		}
		if !keep {
			if err := os.Remove(w.path("f1")); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, before, 0o600); err != nil {
				t.Fatal(err)
			}
			w.folder.names["f1"] = append([]*file{nil}, w.folder.names["f1"]...) // its old file went with the harm above
		}
		if _, _, err := l.Judge(); err != nil {
			t.Errorf("kept %t: %v", keep, err)
		}
	}
}

func patch(path string, fn func([]byte)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fn(b[:CellSize])
	return os.WriteFile(path, b, 0o600)
}

// older makes a whole, sound cell of a write that never was.
func older(b []byte) { fillCells(b, cellFile(b), 1<<40, 0) }

func cellFile(b []byte) (id uint64) {
	for i := range 8 {
		id |= uint64(b[4+i]) << (8 * i)
	}
	return id
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Size()
}

// sibling returns a file of another worker.
func sibling(t *testing.T, path string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(filepath.Dir(path), "../w1/f*"))
	if err != nil || len(all) == 0 {
		t.Fatal("the other worker has no file", err)
	}
	for _, p := range all {
		if size(t, p) > 0 {
			return p
		}
	}
	t.Fatal("all empty")
	return ""
}
