package vfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// Both file systems behave alike.
func TestFileSystems(t *testing.T) {
	for name, fs := range map[string]FS{"os": OS, "mem": NewMem(), "fault": NewFault(NewMem(), 0, nil)} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "b")
			_, err := fs.OpenFile(filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
			if !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if err := fs.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			f, err := fs.OpenFile(filepath.Join(dir, "f"), os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			var bufs [][]byte
			var want []byte
			for i := range 2500 { // more than one call takes
				b := bytes.Repeat([]byte{byte(i)}, i%7)
				bufs, want = append(bufs, b), append(want, b...)
			}
			if n, err := f.WritevAt(bufs, 3); n != len(want) || err != nil {
				t.Fatal(n, err)
			}
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, 3); err != nil || !bytes.Equal(got, want) {
				t.Fatal("read differs", err)
			}
			if _, err := f.ReadAt(got, 4); err != io.EOF {
				t.Fatal(err)
			}
			if err := errors.Join(f.Allocate(0, 1<<20), f.Sync(), fs.SyncDir(dir)); err != nil {
				t.Fatal(err)
			}
			if n, err := f.Size(); n != 1<<20 || err != nil {
				t.Fatal(n, err)
			}
			if err := f.PunchHole(0, 4096); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				t.Fatal(err)
			} else if err == nil {
				if _, err := f.ReadAt(got[:100], 3); err != nil || !bytes.Equal(got[:100], make([]byte, 100)) {
					t.Fatal("the hole is not zero", err)
				}
			}
			if err := f.Truncate(10); err != nil {
				t.Fatal(err)
			}
			if err := fs.Rename(filepath.Join(dir, "f"), filepath.Join(dir, "g")); err != nil {
				t.Fatal(err)
			}
			list, err := fs.ReadDir(dir)
			if err != nil || len(list) != 1 || list[0].Name() != "g" {
				t.Fatal(list, err)
			}
			l, err := fs.(Locker).Lock(filepath.Join(dir, "lock"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fs.(Locker).Lock(filepath.Join(dir, "lock")); !errors.Is(err, redoubt.ErrState) {
				t.Fatal(err)
			}
			if err := errors.Join(l.Close(), f.Close(), fs.RemoveAll(dir)); err != nil {
				t.Fatal(err)
			}
			if _, err := fs.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		})
	}
}

// A power cut keeps what was synced, and now and then loses, keeps or tears the rest.
func TestMemCrash(t *testing.T) {
	lost, kept, torn, gone := 0, 0, 0, 0
	for seed := range uint64(200) {
		m := NewMem()
		f, err := m.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		old, neu := bytes.Repeat([]byte{1}, 4096), bytes.Repeat([]byte{2}, 4096)
		if _, err := f.WriteAt(old, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), m.SyncDir("/")); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(neu, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := m.OpenFile("/unsynced", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			t.Fatal(err)
		}
		after := m.Crash(rand.New(rand.NewPCG(seed, 1)))
		if err := f.Sync(); err == nil {
			t.Fatal("a file lives on after the power cut")
		}
		g, err := after.OpenFile("/f", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(seed, err)
		}
		got := make([]byte, 4096)
		if _, err := g.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		switch {
		case bytes.Equal(got, old):
			lost++
		case bytes.Equal(got, neu):
			kept++
		default:
			torn++
			for i := 0; i < 4096; i += 512 {
				if s := got[i : i+512]; !bytes.Equal(s, old[:512]) && !bytes.Equal(s, neu[:512]) {
					t.Fatal("torn inside of a sector")
				}
			}
		}
		if _, err := after.Stat("/unsynced"); err != nil {
			gone++
		}
	}
	if lost == 0 || kept == 0 || torn == 0 || gone == 0 || gone == 200 {
		t.Fatal(lost, kept, torn, gone)
	}
}

func TestFault(t *testing.T) {
	boom := errors.New("boom")
	fs := NewFault(NewMem(), 3, boom)
	f, err := fs.OpenFile("/f", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt(make([]byte, 100), 0); n != 50 || !errors.Is(err, boom) {
		t.Fatal(n, err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	fs.StayDown()
	if err := f.Sync(); !errors.Is(err, boom) || fs.Count() != 5 {
		t.Fatal(err, fs.Count())
	}
}

// A file system without room takes what fits, keeps what it has, and goes on when
// there is room again.
func TestMemLimit(t *testing.T) {
	m := NewMem()
	f, err := m.OpenFile("/a", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m.Limit(100)
	full := func(what string, err error) {
		t.Helper()
		if !IsNoSpace(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := f.Allocate(0, 60); err != nil {
		t.Fatal(err)
	}
	full("too much at once", f.Allocate(0, 101))
	full("a hole", f.Truncate(101))
	g, err := m.OpenFile("/b", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n, err := g.WritevAt([][]byte{make([]byte, 30), make([]byte, 30)}, 0)
	full("a write", err)
	if n != 40 || m.Used() != 100 {
		t.Errorf("%d bytes written, %d used", n, m.Used())
	}
	if _, err := f.WriteAt(make([]byte, 60), 0); err != nil {
		t.Errorf("into what was allocated: %v", err)
	}
	if err := f.Truncate(10); err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteAt(make([]byte, 50), 40); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
