package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// flip changes one bit of a file.
func flip(t testing.TB, fs vfs.FS, name string, off int64) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

func resizeFile(t testing.TB, fs vfs.FS, name string, size int64) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func makeFile(t testing.TB, fs vfs.FS, name string, size int64) {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	resizeFile(t, fs, name, size)
}

// damagedWorld is a closed journal of several segments, not closed cleanly.
func damagedWorld(t *testing.T, seed uint64, lose bool) (*world, []*segment) {
	w := newWorld(t, seed, vfs.NewMem())
	w.mustOpen()
	for len(w.j.chain) < 4 {
		if err := w.append(30, 32<<10); err != nil {
			t.Fatal(err)
		}
		if err := w.j.Sync(ctx, w.last); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // so that later heads say that earlier batches were durable
		if err := w.append(3, 4096); err != nil {
			t.Fatal(err)
		}
		if err := w.j.Sync(ctx, w.last); err != nil {
			t.Fatal(err)
		}
	}
	for w.j.tend() {
	}
	segs := append([]*segment(nil), w.j.chain...)
	w.fs = w.fs.(*vfs.Mem).Kill()
	_ = w.j.Close()
	if lose {
		w.idx = &memIndex{}
	}
	return w, segs
}

// S8: a flipped bit below the watermark is reported, wherever it is: at open,
// or at the latest when the record is read. Verify finds it in each case.
func TestFlippedBit(t *testing.T) {
	atOpen, atRead := 0, 0
	for seed := uint64(1); seed <= 60; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w, segs := damagedWorld(t, seed, seed%2 == 0)
			s := segs[w.rng.IntN(len(segs))]
			// Anywhere in the batches, but the last one: nothing later vouches for it.
			end := s.p.end
			if s == segs[len(segs)-1] {
				end = s.p.marks[len(s.p.marks)-1].Off
			}
			if end <= pageSize {
				return
			}
			off := pageSize + w.rng.Int64N(end-pageSize)
			before := damageCovered(t, w.fs, s, off)
			flip(t, w.fs, s.file.Name(), off)
			_, err := VerifyFS(w.fs, testDir)
			if before && !errors.Is(err, redoubt.ErrCorrupt) {
				t.Fatalf("seed %d: verify does not see a flipped bit at %d of %s: %v", seed, off, s.file.Name(), err)
			}
			err = w.open()
			if errors.Is(err, redoubt.ErrCorrupt) {
				atOpen++
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			err = w.j.Replay(1, func(x *redoubt.Write) error {
				if m := w.want[x.LSN][0]; !bytes.Equal(m.Data, x.Data) {
					return fmt.Errorf("wrong data was served")
				}
				return nil
			})
			if before && !errors.Is(err, redoubt.ErrCorrupt) {
				t.Fatalf("seed %d: replay does not see a flipped bit at %d of %s: %v", seed, off, s.file.Name(), err)
			}
			if before {
				atRead++
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	if atOpen == 0 || atRead == 0 {
		t.Fatalf("seen %d times at open, %d times at read", atOpen, atRead)
	}
}

// damageCovered reports whether the byte at off is of a head or of data, and
// not of the pad behind data.
func damageCovered(t *testing.T, fs vfs.FS, s *segment, off int64) bool {
	f, err := fs.OpenFile(s.file.Name(), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	covered := false
	e := extent{end: pageSize}
	c := *s
	c.file = f
	_, id, _, _ := func() (extent, journalID, uint64, error) {
		p := make([]byte, pageSize)
		if err := readFull(f, p, 0); err != nil {
			t.Fatal(err)
		}
		id, seq, _, err := decodeHeader(p)
		return extent{}, id, seq, err
	}()
	_ = scanHeads(&pager{file: f, size: c.size}, id, &c, &e, s.p.end, func(h *batchHead) {
		if off >= h.off && off < h.off+pageSize+h.payload {
			covered = true
		}
	})
	return covered
}

// Damaged headers and footers, lost files and lost facts are told from a crash.
func TestDamagedFiles(t *testing.T) {
	cases := map[string]struct {
		hurt func(t *testing.T, w *world, segs []*segment)
		ok   bool // nothing is lost
	}{
		"header of a full segment": {func(t *testing.T, w *world, s []*segment) { flip(t, w.fs, s[1].file.Name(), 17) }, false},
		"header of the open one":   {func(t *testing.T, w *world, s []*segment) { flip(t, w.fs, s[len(s)-1].file.Name(), 33) }, false},
		"footer":                   {func(t *testing.T, w *world, s []*segment) { flip(t, w.fs, s[0].file.Name(), s[0].limit()+50) }, true},
		"lost segment":             {func(t *testing.T, w *world, s []*segment) { _ = w.fs.Remove(s[2].file.Name()) }, false},
		"lost first segment":       {func(t *testing.T, w *world, s []*segment) { _ = w.fs.Remove(s[0].file.Name()) }, false},
		"last segment shortened": {func(t *testing.T, w *world, s []*segment) {
			resizeFile(t, w.fs, s[len(s)-1].file.Name(), MinSegmentSize/2)
		}, false},
		"last segment lengthened": {func(t *testing.T, w *world, s []*segment) {
			resizeFile(t, w.fs, s[len(s)-1].file.Name(), MinSegmentSize+1)
		}, false},
		"unfinished segment file": {func(t *testing.T, w *world, s []*segment) { makeFile(t, w.fs, segmentName(testDir, 77), 3*pageSize+1) }, true},
		"one copy of the facts":   {func(t *testing.T, w *world, s []*segment) { flip(t, w.fs, testDir+"/facts-a", 30) }, true},
		"other copy of the facts": {func(t *testing.T, w *world, s []*segment) { flip(t, w.fs, testDir+"/facts-b", 30) }, true},
		"both copies": {func(t *testing.T, w *world, s []*segment) {
			flip(t, w.fs, testDir+"/facts-a", 30)
			flip(t, w.fs, testDir+"/facts-b", 30)
		}, false},
		"no facts": {func(t *testing.T, w *world, s []*segment) {
			_ = w.fs.Remove(testDir + "/facts-a")
			_ = w.fs.Remove(testDir + "/facts-b")
		}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, segs := damagedWorld(t, 9, false)
			c.hurt(t, w, segs)
			if _, err := VerifyFS(w.fs, testDir); c.ok && err != nil || !c.ok && err == nil {
				t.Errorf("verify says: %v", err)
			}
			err := w.open()
			if !c.ok {
				wantErr(t, err, redoubt.ErrCorrupt)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			w.verify(w.last)
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestNewerVersion(t *testing.T) {
	w, segs := damagedWorld(t, 3, true)
	f, err := w.fs.OpenFile(segs[1].file.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, pageSize)
	if err := readFull(f, p, 0); err != nil {
		t.Fatal(err)
	}
	le.PutUint32(p[offVersion:], version+1)
	le.PutUint32(p[offCRC:], pageCRC(p))
	if err := writeFull(f, p, 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w.open(), redoubt.ErrVersion)
}

func TestDump(t *testing.T) {
	w, segs := damagedWorld(t, 4, false)
	var text, lines bytes.Buffer
	if err := Dump(testDir, &text, DumpOptions{FS: w.fs, From: 3, To: 5}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(text.String(), "disk "); n != 3 {
		t.Fatalf("%d records, want 3:\n%s", n, text.String())
	}
	if err := Dump(testDir, &lines, DumpOptions{FS: w.fs, JSON: true}); err != nil {
		t.Fatal(err)
	}
	records := 0
	for dec := json.NewDecoder(&lines); dec.More(); {
		var l dumpLine
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Type == "record" {
			records++
		}
	}
	if records != int(w.last) {
		t.Fatalf("%d records, want %d", records, w.last)
	}
	flip(t, w.fs, segs[0].file.Name(), pageSize+200)
	text.Reset()
	if err := Dump(testDir, &text, DumpOptions{FS: w.fs}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "DAMAGED") {
		t.Fatal("the dump does not show the damage")
	}
}
