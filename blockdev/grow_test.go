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

// A disk grows in the order of writes: nobody uses the new bytes before it is
// told, what was there before reads as zeros, and doing it again after a failure
// in between is right.
func TestGrow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	const small, large = 64 << 10, 128 << 10
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, large), 0o600); err != nil { // the tail holds what never was of the disk
		t.Fatal(err)
	}
	im, err := OpenImage(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Resize(small); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(filepath.Join(dir, "journal"), journalOptions(vfs.OS))
	if err != nil {
		t.Fatal(err)
	}
	g, err := OpenGroup(j, []Member{{Disk: redoubt.Disk{ID: 1, Name: "a", Size: small}, Backing: im}}, GroupOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(g.Close(), j.Close()); err != nil {
			t.Error(err)
		}
	}()
	v, _ := g.Volume("a")
	p := bytes.Repeat([]byte{9}, 4096)
	if err := v.Write(p, small, false); !errors.Is(err, redoubt.ErrOutOfRange) {
		t.Fatalf("a write beyond the end: %v", err)
	}
	ctx := context.Background()
	if err := g.Grow(ctx, 1, small, 2*large, nil); !errors.Is(err, redoubt.ErrInvalid) {
		t.Fatalf("beyond the image: %v", err)
	}
	broken := errors.New("not told")
	if err := g.Grow(ctx, 1, small, large, func() error { return broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if err := v.Write(p, small, false); !errors.Is(err, redoubt.ErrOutOfRange) || v.Disk().Size != small {
		t.Fatalf("the new bytes can be used although it was not told: %v", err)
	}
	told := false
	if err := g.Grow(ctx, 1, small, large, func() error { told = j.Durable() == j.Head().LSN; return nil }); err != nil || !told {
		t.Fatalf("told while it was not durable, or %v", err)
	}
	if v.Disk().Size != large {
		t.Fatalf("grown to %d", v.Disk().Size)
	}
	got := make([]byte, large)
	if err := v.ReadAt(got, 0); err != nil || !bytes.Equal(got[:small], bytes.Repeat([]byte{7}, small)) || !bytes.Equal(got[small:], make([]byte, large-small)) {
		t.Fatalf("after the growth: %v", err)
	}
	if err := v.Write(p, large-4096, true); err != nil {
		t.Fatal(err)
	}
	ws := records(t, j, 0)
	kinds := []redoubt.Kind{redoubt.KindResize, redoubt.KindZero, redoubt.KindResize, redoubt.KindZero, redoubt.KindWrite}
	for i, k := range kinds {
		if len(ws) != len(kinds) || ws[i].Kind != k || k == redoubt.KindResize && ws[i].Extent != (redoubt.Extent{Off: large}) {
			t.Fatalf("journaled %v", ws)
		}
	}
	if err := g.Blank(ctx, 1, large-4096); err != nil {
		t.Fatal(err)
	}
	if err := v.ReadAt(p, large-4096); err != nil || !bytes.Equal(p, make([]byte, 4096)) {
		t.Errorf("blanked: %v", err)
	}
}

// Whoever writes while the journal is reset waits and goes on in the new epoch.
func TestResetHoldsWritersBack(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 1<<20)
	defer r.close(t)
	v := r.g.Volumes()[0]
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		p := make([]byte, 4096)
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			p[0]++
			if err := v.Write(p, i%256*4096, false); err != nil {
				done <- err
				return
			}
		}
	}()
	for e := redoubt.Epoch(2); e < 12; e++ {
		if err := r.g.Reset(context.Background(), redoubt.Position{Epoch: e, LSN: 5}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if h := r.g.Journal().Head(); h.Epoch != 11 || h.LSN < 5 {
		t.Errorf("head %s", h)
	}
}
