package index

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// badDisk cannot read one byte of one file.
type badDisk struct {
	vfs.FS
	name string
	at   atomic.Int64 // below 0: it can read all
	hit  atomic.Int64 // reads that failed
}

type badFile struct {
	vfs.File
	d *badDisk
}

func (d *badDisk) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err == nil && name == d.name {
		f = badFile{f, d}
	}
	return f, err
}

func (f badFile) ReadAt(p []byte, off int64) (int, error) {
	if at := f.d.at.Load(); at >= off && at < off+int64(len(p)) {
		f.d.hit.Add(1)
		return 0, &os.PathError{Op: "read", Path: f.Name(), Err: syscall.EIO}
	}
	return f.File.ReadAt(p, off)
}

// What the disk cannot read is built again like what is rotten, whatever it is: the
// index opens, answers, and can be scrubbed to its end.
func TestUnreadableSector(t *testing.T) {
	rng := seeded.Rand(t)
	w := &world{h: &heads{m: map[headKey][]Entry{}}, segs: map[redoubt.Epoch][][2]redoubt.LSN{}, states: map[redoubt.Position]image{{Epoch: 1}: {}}}
	w.lin = redoubt.Lineage{{Epoch: 1}}
	w.extend(rng, 1, redoubt.Position{Epoch: 1}, 40)
	base := vfs.NewMem()
	x := open(t, base, w, Options{})
	addAll(x, w)
	settle(t, x)
	runs := x.runs.all()
	last := runs[len(runs)-1]
	x.Close()
	names, err := base.ReadDir("/index")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d index files, %v", len(names), err)
	}
	name := runFiles.Name("/index", uint64(last.file))
	f, err := base.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	body := int64(last.sector)*sector + sector + 1
	for _, c := range []struct {
		what string
		at   int64
	}{{"file header", 1}, {"run header", int64(last.sector)*sector + 1}, {"block", body}, {"footer", size - trailerLen - 40}, {"trailer", size - 1}} {
		for _, when := range []string{"at the start", "later"} {
			t.Run(c.what+" "+when, func(t *testing.T) {
				d := &badDisk{FS: base.Clone(rng), name: filepath.Clean(name)}
				d.at.Store(-1)
				if when == "at the start" {
					d.at.Store(c.at)
				}
				x := open(t, d, w, Options{})
				defer x.Close()
				d.at.Store(c.at)
				addAll(x, w)
				for _, p := range w.positions() {
					w.check(t, x, p, rng)
				}
				free := func(context.Context, int64) error { return nil }
				if _, err := x.Scrub(t.Context(), free); err != nil {
					t.Errorf("scrub: %v", err)
				}
				if hit := d.hit.Load(); hit == 0 && (when == "at the start" && c.what != "block" || when == "later" && c.what == "block") {
					t.Error("nothing was unreadable: the judge sees nothing")
				}
			})
		}
	}
}
