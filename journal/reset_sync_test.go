package journal

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// slowFS holds the next sync of a segment back until it is let go.
type slowFS struct {
	vfs.FS
	hold  atomic.Bool
	waits chan struct{} // a sync is held
	let   chan struct{}
}

func (s *slowFS) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &slowFile{f, s}, nil
}

type slowFile struct {
	vfs.File
	fs *slowFS
}

func (f *slowFile) Sync() error {
	if strings.HasPrefix(filepath.Base(f.Name()), "seg-") && f.fs.hold.CompareAndSwap(true, false) {
		f.fs.waits <- struct{}{}
		<-f.fs.let
	}
	return f.File.Sync()
}

// Who does the sync for all returns when a reset meanwhile voids the records that
// it was asked for: it went on syncing nothing, for ever.
func TestResetDuringASync(t *testing.T) {
	slow := &slowFS{FS: vfs.NewMem(), waits: make(chan struct{}), let: make(chan struct{})}
	w := newWorld(t, 1, slow)
	w.mustOpen()
	if err := w.append(8, 4096); err != nil {
		t.Fatal(err)
	}
	slow.hold.Store(true)
	synced := make(chan error, 1)
	go func() { synced <- w.j.Sync(ctx, w.last) }()
	<-slow.waits
	if err := w.j.Reset(redoubt.Position{Epoch: 7, LSN: 3}); err != nil {
		t.Fatal(err)
	}
	close(slow.let)
	select {
	case err := <-synced:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the sync does not end")
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
}
