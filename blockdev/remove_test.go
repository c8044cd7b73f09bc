package blockdev

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

// A disk is removed while another one is written to: what was written to it is in
// its image, nobody reaches it any more, and the journal that still has its records
// opens without it, but not without being told.
func TestRemove(t *testing.T) {
	dir := t.TempDir()
	const size = 64 << 10
	open := func(o GroupOptions, names ...string) (*Group, *journal.Journal, error) {
		var ms []Member
		for _, n := range names {
			im, err := OpenImage(filepath.Join(dir, n), 0)
			if err != nil {
				t.Fatal(err)
			}
			ms = append(ms, Member{Disk: redoubt.Disk{ID: redoubt.DiskID(n[0] - 'a' + 1), Name: n, Size: size}, Backing: im})
		}
		j, err := journal.Open(filepath.Join(dir, "journal"), journalOptions(vfs.OS))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Cursor("keeps", 0); err != nil { // nobody acknowledges: all records stay
			t.Fatal(err)
		}
		g, err := OpenGroup(j, ms, o)
		if err != nil {
			err = errors.Join(err, j.Close())
		}
		return g, j, err
	}
	for _, n := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, n), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g, j, err := open(GroupOptions{}, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	a, _ := g.Volume("a")
	b, _ := g.Volume("b")
	p := bytes.Repeat([]byte{9}, 4096)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := a.Write(p, 0, false); err != nil {
				done <- err
				return
			}
		}
	}()
	if err := b.Write(p, 8192, false); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := g.Remove(ctx, 2); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatalf("the other disk: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || !bytes.Equal(got[8192:12288], p) {
		t.Fatalf("its last write is not in its image: %v", err)
	}
	if err := b.Write(p, 0, false); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("a write to a removed disk: %v", err)
	}
	if err := g.ReadCurrent(2, p, 0); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("a read of a removed disk: %v", err)
	}
	if _, ok := g.Volume("b"); ok || len(g.Volumes()) != 1 || len(g.Stats().Disks) != 1 {
		t.Error("it is still there")
	}
	if err := g.Remove(ctx, 2); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	im, err := OpenImage(filepath.Join(dir, "b"), 0) // free for others
	if err != nil {
		t.Fatal(err)
	}
	im.Close()
	leave := []redoubt.Write{{Disk: 2, Kind: redoubt.KindLeave, Extent: redoubt.Extent{Off: size}}}
	if err := g.AppendControl(leave); err != nil {
		t.Fatal(err)
	}
	// The applied mark may be older than it was after a crash: then records of the
	// disk are replayed.
	if err := errors.Join(j.Sync(ctx, leave[0].LSN), g.Close(), j.Close(), os.RemoveAll(filepath.Join(dir, "journal", "index"))); err != nil {
		t.Fatal(err)
	}
	g, j, err = open(GroupOptions{Gone: []redoubt.DiskID{2}}, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.AppendControl(leave), g.Close(), j.Close()); err != nil {
		t.Fatal(err)
	}
}
