package journal

import (
	"slices"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// recorded notes which folders were synced.
type recorded struct {
	vfs.FS
	mu     sync.Mutex
	synced []string
}

func (r *recorded) SyncDir(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.synced = append(r.synced, name)
	return r.FS.SyncDir(name)
}

// The journal's folder is durable also if its maker was killed before the sync.
func TestFolderOfAKilledMaker(t *testing.T) {
	fs := &recorded{FS: vfs.NewMem()}
	if err := fs.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 1, fs)
	w.mustOpen()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(fs.synced, "/") {
		t.Errorf("synced folders: %q", fs.synced)
	}
}
