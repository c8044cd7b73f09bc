package segment

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// oneBatch writes a sealed file whose records came with one sync: none of them
// says of another that it was durable.
func oneBatch(t *testing.T, rng *rand.Rand) (fs *vfs.Mem, all []*Shard, hs []*header, end int64) {
	t.Helper()
	fs = newFS(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(fs.MkdirAll(dir, 0o700))
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDWR|os.O_CREATE, 0o600)
	must(err)
	_, err = f.WriteAt(encodeFileHeader(1), 0)
	must(err)
	end = sector
	for i := range uint64(4) {
		s := shard(rng, "g", i)
		h := newHeader(s)
		h.File, h.Offset, h.Durable = 1, end, sector
		pad := make([]byte, h.total()-int64(h.Len)-int64(len(s.Head))-int64(len(s.Data)))
		_, err := f.WritevAt([][]byte{h.encode(), s.Head, s.Data, pad}, end)
		must(err)
		all, hs, end = append(all, s), append(hs, h), end+h.total()
	}
	_, err = sealFile(f, 1, end, hs)
	must(errors.Join(err, fs.SyncDir(dir), f.Close()))
	return fs, all, hs, end
}

// In a sealed file everything was durable. When its footer does not hold, one rotten
// record costs itself, not those behind it, and is not cut off in silence.
func TestRotInASealedFileWithoutAFooter(t *testing.T) {
	rng := seeded.Rand(t)
	base, all, hs, end := oneBatch(t, rng)
	for _, c := range []struct {
		what   string
		rotten int
		at     int64
	}{{"body", 1, hs[1].Offset + int64(hs[1].Len) + 1}, {"header", 1, hs[1].Offset + 41}, {"body of the last", 3, hs[3].Offset + int64(hs[3].Len) + 1}, {"header of the last", 3, hs[3].Offset + 41}} {
		fs := base.Clone(rng)
		flipAt(t, fs, c.at, 3)
		flipAt(t, fs, end+footerHead+5, 3)
		l := open(t, fs)
		for i, s := range all {
			if i != c.rotten {
				check(t, l, s, rng)
				continue
			}
			err := l.Scrub(s.ID)
			if said := slices.ContainsFunc(l.Damaged(), func(d Damage) bool { return d.Off == hs[i].Offset }); !errors.Is(err, redoubt.ErrCorrupt) && !said {
				t.Errorf("%s: it reads %v, and the damage is %+v", c.what, err, l.Damaged())
			}
		}
		l.Close()
	}
}

// badDisk cannot read one byte.
type badDisk struct {
	vfs.FS
	at int64
}

type badFile struct {
	vfs.File
	at int64
}

func (d badDisk) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err == nil && name == logFiles.Name(dir, 1) {
		f = badFile{f, d.at}
	}
	return f, err
}

func (f badFile) ReadAt(p []byte, off int64) (int, error) {
	if f.at >= off && f.at < off+int64(len(p)) {
		return 0, &os.PathError{Op: "read", Path: f.Name(), Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// A footer that the disk cannot read does not keep the log from being opened.
func TestUnreadableFooter(t *testing.T) {
	rng := seeded.Rand(t)
	base, all, _, end := oneBatch(t, rng)
	for _, at := range []int64{end + footerHead + 5, sizeOf(t, base) - trailerLen - 30, sizeOf(t, base) - 1} {
		l, err := Open(dir, Options{FS: badDisk{base.Clone(rng), at}})
		if err != nil {
			t.Errorf("byte %d: %v", at, err)
			continue
		}
		for _, s := range all {
			check(t, l, s, rng)
		}
		l.Close()
	}
}
