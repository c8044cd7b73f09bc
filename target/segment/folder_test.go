package segment

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

// Nobody else makes the folder around the log durable.
func TestFolderAroundTheLog(t *testing.T) {
	fs := &recorded{FS: vfs.NewMem()}
	l, err := Open("/data/target/shards", Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/data", "/data/target"} {
		if !slices.Contains(fs.synced, dir) {
			t.Errorf("%s is not synced, only %q", dir, fs.synced)
		}
	}
}
