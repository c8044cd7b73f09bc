package source

import (
	"os"
	"path/filepath"
	"testing"
)

// An image that is another file than before is found out at the next start,
// also at the one after that, until the disks were found equal; a fenced group
// with it is not whole.
func TestReplacedImage(t *testing.T) {
	cfg := nbdConfig(t, "")
	path := cfg.Groups[0].Disks[0].Path
	start := func(want bool, then func(g *Group)) {
		t.Helper()
		h, g := openOne(t, cfg)
		if got := g.Role().Replaced; got != want {
			t.Errorf("replaced: %v, want %v", got, want)
		}
		then(g)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	nothing := func(*Group) {}
	start(false, nothing)
	start(false, nothing)
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	start(true, func(g *Group) {
		if !g.Role().Whole(g.journal.Head().LSN) {
			t.Error("what a writer has is the group's state")
		}
	})
	start(true, func(g *Group) {
		r := g.Role()
		r.Mode = ModeFenced
		if r.Whole(g.journal.Head().LSN) {
			t.Error("fenced with a disk that nobody knows, and whole")
		}
		g.step.Lock()
		defer g.step.Unlock()
		if err := g.known(); err != nil {
			t.Fatal(err)
		}
	})
	start(false, nothing)

	// The group's folder is gone, and the journal, which is elsewhere, is not.
	cfg.Groups[0].JournalDir = filepath.Join(filepath.Dir(path), "journal")
	if err := os.RemoveAll(cfg.groupDir("g")); err != nil {
		t.Fatal(err)
	}
	start(false, func(g *Group) {
		if err := g.disks.Volumes()[0].Write(make([]byte, 4096), 0, true); err != nil {
			t.Fatal(err)
		}
	})
	if err := os.RemoveAll(cfg.groupDir("g")); err != nil {
		t.Fatal(err)
	}
	start(true, nothing)
}
