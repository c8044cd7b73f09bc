package segment

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// noDirect opens files for direct writes, which then fail, from the after-th on.
type noDirect struct {
	vfs.FS
	after int
}

type noDirectFile struct {
	vfs.File
	fs *noDirect
}

func (f *noDirect) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	if err != nil || flag&syscall.O_DIRECT == 0 {
		return file, err
	}
	return &noDirectFile{file, f}, nil
}

func (f *noDirectFile) WriteAt(p []byte, off int64) (int, error) {
	if f.fs.after--; f.fs.after < 0 {
		return 0, syscall.EINVAL
	}
	return f.File.WriteAt(p, off)
}

// Large shards are the same bytes whatever way they went to the disk, and beside
// small ones that share pages with them.
func TestLargeBatches(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"direct": vfs.OS, "refused": &noDirect{FS: vfs.OS}, "refused later": &noDirect{FS: vfs.OS, after: 4}} {
		t.Run(name, func(t *testing.T) {
			rng := seeded.Rand(t)
			dir := filepath.Join(t.TempDir(), "shards")
			o := Options{FS: fs, FileSize: 16 << 20}
			l, err := Open(dir, o)
			if err != nil {
				t.Fatal(err)
			}
			var all []*Shard
			for i := range 24 {
				s := shard(rng, "g", uint64(i))
				if i%3 > 0 {
					s.Data = random(rng, 256<<10+rng.IntN(2<<20))
					s.Size = uint32(2 * len(s.Data))
				}
				put(t, l, s)
				all = append(all, s)
			}
			for range 2 {
				for _, s := range all {
					check(t, l, s, rng)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(dir, o); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if ds := l.Damaged(); len(ds) > 0 {
				t.Fatal(ds)
			}
		})
	}
}

// A record that was being made durable while the next was written has the mark
// of the one behind that: if it rots, what follows is not cut off.
func TestRotBelowRecordsOnTheirWay(t *testing.T) {
	rng := seeded.Rand(t)
	mem := newFS(t)
	g := &gate{FS: mem, at: make(chan struct{}, 1)}
	l := open(t, g)
	put(t, l, shard(rng, "g", 0))
	g.mu.Lock()
	g.open = make(chan struct{})
	g.mu.Unlock()
	// b is written while a is in its sync, so it does not say that a is durable.
	a, b, c := shard(rng, "g", 1), shard(rng, "g", 2), shard(rng, "g", 3)
	done := make(chan error, 2)
	go func() { done <- l.Put(context.Background(), a) }()
	<-g.at
	r := &request{h: newHeader(b), head: b.Head, data: b.Data, err: make(chan error, 1)}
	l.queue <- r
	f, err := mem.OpenFile(logFiles.Name(dir, 1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	offA := int64(0)
	for magic := make([]byte, 4); string(magic) != recordMagic; { // until b is written
		s, err := scanFile(f, 1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.headers) < 3 {
			continue
		}
		offA = s.headers[1].Offset
		if err := readFull(f, magic, s.headers[2].Offset); err != nil {
			t.Fatal(err)
		}
	}
	close(g.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := <-r.err; err != nil {
		t.Fatal(err)
	}
	put(t, l, c)
	s, err := scanFile(f, 1, 1<<20)
	if err != nil || len(s.headers) != 4 || s.headers[2].Durable > offA || s.headers[3].Durable <= offA {
		t.Fatalf("%v: %+v", err, s)
	}
	if _, err := f.WriteAt([]byte{0xff}, offA+9); err != nil {
		t.Fatal(err)
	}
	s, err = scanFile(f, 1, 1<<20)
	if err != nil || len(s.headers) != 3 || len(s.damage) != 1 || s.damage[0].Off != offA {
		t.Fatalf("%v: %d records, damage %v", err, len(s.headers), s.damage)
	}
}
