package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// A branch is kept once, listed with and without the note beside it, read in
// order, and gone after a drop, also if a crash came in its middle.
func TestBranches(t *testing.T) {
	g := &Group{cfg: GroupConfig{Name: "g"}, host: &Config{DataDir: t.TempDir()}, log: slog.New(slog.DiscardHandler), changed: make(chan struct{})}
	if bs, err := g.Branches(); err != nil || bs != nil {
		t.Fatal(bs, err)
	}
	var err error
	dir := t.TempDir()
	if g.journal, err = journal.Open(dir, journal.Options{Create: true, Start: redoubt.Position{Epoch: 3}, SegmentSize: 1 << 20, MaxBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	defer g.journal.Close()
	if g.role, err = loadRole(g.journal); err != nil {
		t.Fatal(err)
	}
	for i := range byte(20) {
		data := bytes.Repeat([]byte{i + 1}, 4096)
		ws := []redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(i%5) * 4096, Len: 4096}, Data: data, CRC: redoubt.Checksum(data)}}
		if err := g.journal.Append(ws); err != nil {
			t.Fatal(err)
		}
	}
	id := branchName(3, 5)
	for range 2 { // a crash behind the first makes a second
		if g.role.Branch, err = g.saveBranch(id, 5); err != nil {
			t.Fatal(err)
		}
	}
	first, err := g.Branches()
	if err != nil || len(first) != 1 || first[0].ID != id || first[0].Records != 15 || first[0].Disks["1"] != 5*4096 {
		t.Fatalf("%v %+v", err, first)
	}
	if err := os.Remove(g.branchDir(id) + ".json"); err != nil {
		t.Fatal(err)
	}
	if again, err := g.Branches(); err != nil || !reflect.DeepEqual(again, first) {
		t.Fatalf("%v %+v, want %+v", err, again, first)
	}
	next := redoubt.LSN(6)
	err = g.ReadBranch(context.Background(), id, func(ws []redoubt.Write) error {
		for _, w := range ws {
			if w.LSN != next || !slices.Equal(w.Data, bytes.Repeat([]byte{byte(w.LSN)}, 4096)) {
				t.Errorf("write %d instead of %d", w.LSN, next)
			}
			next++
		}
		return nil
	})
	if err != nil || next != 21 {
		t.Fatal(next, err)
	}
	for _, bad := range []string{"", "..", "../" + id, "4-after-5"} {
		if _, err := g.DropBranch(bad); !errors.Is(err, redoubt.ErrNotFound) {
			t.Errorf("drop %q: %v", bad, err)
		}
	}
	if _, err := g.DropBranch(id); err != nil {
		t.Fatal(err)
	}
	if r, err := loadRole(g.journal); err != nil || r.Branch != "" || g.Role().Branch != "" {
		t.Error("the role still names the branch", r, err)
	}
	if err := os.Mkdir(g.branchDir("3-after-7"+droppedMark), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := g.sweepBranches(); err != nil {
		t.Fatal(err)
	}
	if es, err := os.ReadDir(g.branchDir("")); err != nil || len(es) != 0 {
		t.Error("left behind:", es, err)
	}
}
