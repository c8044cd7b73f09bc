package segment

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// holes is a file system without preallocation, such as ext2.
type holes struct{ vfs.FS }

func (h holes) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return holed{f}, nil
}

type holed struct{ vfs.File }

func (holed) Allocate(int64, int64) error { return syscall.EOPNOTSUPP }

// Where space cannot be preallocated a file is written as zeros. Whichever step of
// making it finds the disk full, the log goes on when there is room again.
func TestNoPreallocation(t *testing.T) {
	const size = 2*zeroPiece + zeroPiece/2
	const steps = 1 + 1 + 3 + 1 + 1 + 1 + 1 // create, allocate, zeros, header, sync, folder, shard
	for step := int64(1); step <= steps; step++ {
		rng := seeded.Rand(t)
		fs := vfs.NewFault(holes{newFS(t)}, 0, syscall.ENOSPC)
		l, err := Open(dir, Options{FS: fs, FileSize: size})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		s := shard(rng, "g", 1)
		fs.FailAt(fs.Count() + step)
		err = l.Put(t.Context(), s)
		if !errors.Is(err, syscall.ENOSPC) || redoubt.Hint(err) == "" || l.Err() != nil {
			t.Fatalf("step %d: %v; latched: %v", step, err, l.Err())
		}
		put(t, l, s)
		check(t, l, s, rng)
		st, err := fs.Stat(logFiles.Name(dir, 1))
		if err != nil || st.Size() != size {
			t.Fatalf("step %d: a file of %d bytes, %v", step, st.Size(), err)
		}
	}
}
