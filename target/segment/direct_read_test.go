package segment

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// oddDirect opens files whose direct reads do what read does with them.
type oddDirect struct {
	vfs.FS
	read  func(f vfs.File, p []byte, off int64) (int, error)
	reads int
}

type oddFile struct {
	vfs.File
	fs *oddDirect
}

func (f *oddDirect) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil || flag&(syscall.O_DIRECT|os.O_RDWR) != syscall.O_DIRECT {
		return file, err
	}
	return &oddFile{file, f}, nil
}

func (f *oddFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.reads++
	return f.fs.read(f.File, p, off)
}

// Large ranges are the same bytes whatever a direct read says; only what is wrong
// in the file is wrong.
func TestLargeReads(t *testing.T) {
	ways := map[string]func(f vfs.File, p []byte, off int64) (int, error){
		"direct":  vfs.File.ReadAt,
		"refused": func(vfs.File, []byte, int64) (int, error) { return 0, syscall.EINVAL },
		"short":   func(f vfs.File, p []byte, off int64) (int, error) { return f.ReadAt(p[:page], off) },
		"stale": func(f vfs.File, p []byte, off int64) (int, error) {
			n, err := f.ReadAt(p, off)
			clear(p[n/2 : n/2+page])
			return n, err
		},
	}
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			rng := seeded.Rand(t)
			fs := &oddDirect{FS: vfs.OS, read: read}
			dir := filepath.Join(t.TempDir(), "shards")
			l, err := Open(dir, Options{FS: fs, FileSize: 16 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for i := range uint64(6) {
				s := shard(rng, "g", i)
				s.Data = random(rng, directFrom+rng.IntN(2<<20))
				s.Size = uint32(2 * len(s.Data))
				put(t, l, s)
				for range 8 {
					off := rng.IntN(len(s.Data))
					n := 1 + rng.IntN(len(s.Data)-off)
					p, err := l.ReadPart(s.ID, uint32(off), uint32(n))
					if err != nil || !bytes.Equal(p.Data, s.Data[off:off+n]) {
						t.Fatalf("%d+%d of %d: %v", off, n, len(s.Data), err)
					}
					p.Free()
				}
				if i < 5 {
					continue
				}
				at, ok, err := l.find(s.ID)
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				f, err := os.OpenFile(logFiles.Name(dir, at.file), os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				middle := len(s.Data) / 2
				_, err = f.WriteAt([]byte{^s.Data[middle]}, at.off+int64(at.headerLen)+int64(at.headLen)+int64(middle))
				if err := errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
				if _, err := l.ReadPart(s.ID, 0, uint32(len(s.Data))); !errors.Is(err, redoubt.ErrCorrupt) {
					t.Fatalf("a flipped byte: %v", err)
				}
			}
			if fs.reads == 0 || name == "refused" && fs.reads != 1 {
				t.Errorf("%d direct reads", fs.reads)
			}
		})
	}
}
