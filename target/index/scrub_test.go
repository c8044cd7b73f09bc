package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Scrub finds a flipped bit in a run that nobody reads, and the run is built
// again; without one it finds nothing.
func TestScrubRuns(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	fs := vfs.NewMem()
	x := open(t, fs, w, Options{})
	addAll(x, w)
	settle(t, x)
	free := func(context.Context, int64) error { return nil }
	s, err := x.Scrub(t.Context(), free)
	if err != nil || s.Rotten > 0 || s.Runs == 0 || s.Bytes == 0 {
		t.Fatalf("before the flip: %+v, %v", s, err)
	}
	var hit *run
	for _, k := range x.runs.all() {
		r, err := x.header(k)
		if err != nil {
			t.Fatal(err)
		}
		if r.bodyLen > 0 && (hit == nil || r.off > hit.off) {
			hit = r
		}
	}
	flip(t, fs, runFiles.Name("/index", hit.file), hit.off+sector+rng.Int64N(int64(hit.bodyLen)), rng.IntN(8))
	if s, err = x.Scrub(t.Context(), free); err != nil || s.Rotten != 1 {
		t.Errorf("after the flip: %+v, %v", s, err)
	}
	settle(t, x)
	if s, err = x.Scrub(t.Context(), free); err != nil || s.Rotten > 0 {
		t.Errorf("built again: %+v, %v", s, err)
	}
	for _, p := range w.positions() {
		w.check(t, x, p, rng)
	}
}

// A run whose header does not hold is built again, and lookups meanwhile are right.
func TestRottenHeader(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	fs := vfs.NewMem()
	x := open(t, fs, w, Options{})
	addAll(x, w)
	settle(t, x)
	all := x.runs.all()
	for _, k := range all {
		x.headers.Remove(k.spot)
		flip(t, fs, runFiles.Name("/index", uint64(k.file)), int64(k.sector)*sector+rng.Int64N(runFixed), rng.IntN(8))
	}
	for _, p := range w.positions() {
		w.check(t, x, p, rng)
	}
	settle(t, x)
	if s, err := x.Scrub(t.Context(), func(context.Context, int64) error { return nil }); err != nil || s.Runs != len(all) {
		t.Errorf("%+v, %v; there were %d", s, err, len(all))
	}
	if x.Stats().Merges <= uint64(len(all)) {
		t.Error("nothing was built again: the judge sees nothing")
	}
}

func flip(t *testing.T, fs vfs.FS, name string, at int64, bit int) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// Every byte of an index file flipped in turn: Verify finds it, or every run
// reads as before.
func TestEveryByteFlipped(t *testing.T) {
	rng := seeded.Rand(t)
	w := &world{h: &heads{m: map[headKey][]Entry{}}, segs: map[redoubt.Epoch][][2]redoubt.LSN{}, states: map[redoubt.Position]image{{Epoch: 1}: {}}}
	w.lin = redoubt.Lineage{{Epoch: 1}}
	w.extend(rng, 1, redoubt.Position{Epoch: 1}, 8)
	base := vfs.NewMem()
	x := open(t, base, w, Options{})
	addAll(x, w)
	settle(t, x)
	x.Close()
	names, err := base.ReadDir("/index")
	if err != nil || len(names) != 1 {
		t.Fatalf("%d index files, %v", len(names), err)
	}
	name := filepath.Join("/index", names[0].Name())
	entries := readAll(t, base)
	f, err := base.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, _ := f.Size()
	f.Close()
	found, harmless := 0, 0
	for at := range size {
		fs := base.Clone(rng)
		flip(t, fs, name, at, rng.IntN(8))
		rep, err := Verify(fs, "/index")
		if err != nil && !errors.Is(err, redoubt.ErrCorrupt) {
			t.Fatalf("byte %d: %v", at, err)
		}
		if err != nil || len(rep.Damage) > 0 || rep.Runs == 0 {
			found++
			continue
		}
		harmless++
		if got := readAll(t, fs); got != entries {
			t.Fatalf("byte %d: verify finds nothing, and the entries are %s instead of %s", at, got, entries)
		}
	}
	if found == 0 || harmless == 0 {
		t.Errorf("of %d bytes %d are found and %d are harmless: the judge sees nothing", size, found, harmless)
	}
	t.Logf("%d bytes, %d flips found, %d harmless", size, found, harmless)
}

// readAll returns all entries of all runs as text.
func readAll(t *testing.T, fs vfs.FS) string {
	t.Helper()
	var b strings.Builder
	err := walk(fs, "/index", func(x *Index, _ string, _ bool, rs []*run, err error) error {
		for _, r := range rs {
			fmt.Fprintf(&b, "%v %d+%d:", r.Series, r.start, r.count)
			for s := x.stream(r); ; {
				f, ok, err := s()
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				fmt.Fprintf(&b, " %+v", f)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
