package journal

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// On the host's file system, with Badger.
func TestHost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "j")
	_, err := Open(dir, Options{})
	wantErr(t, err, redoubt.ErrNotFound)
	w := newWorld(t, 1, vfs.OS)
	o := w.o
	o.FS = nil
	o.Start = redoubt.Position{Epoch: 3, LSN: 41}
	w.last, w.low = 41, 42
	if w.j, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, o)
	wantErr(t, err, redoubt.ErrState)
	for range 200 {
		if err := w.append(20, 8192); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.j.Cursor("ship", 41)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(100); err != nil {
		t.Fatal(err)
	}
	if err := w.j.PutState("role", []byte("source")); err != nil {
		t.Fatal(err)
	}
	for _, lose := range []bool{false, true} {
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		if lose {
			if err := vfs.OS.RemoveAll(filepath.Join(dir, "index")); err != nil {
				t.Fatal(err)
			}
		}
		if w.j, err = Open(dir, Options{MaxBytes: o.MaxBytes}); err != nil {
			t.Fatal(err)
		}
		if s := w.j.Stats(); s.IndexErr != nil {
			t.Fatal(s.IndexErr)
		}
		w.verify(w.last)
		if p := w.j.Head(); p != (redoubt.Position{Epoch: 3, LSN: w.last}) {
			t.Fatal(p)
		}
		if got := w.j.Cursors(); !reflect.DeepEqual(got, map[string]redoubt.LSN{"ship": 100}) {
			t.Fatal(got)
		}
		if v, ok, err := w.j.State("role"); string(v) != "source" || !ok || err != nil {
			t.Fatal(v, ok, err)
		}
		if err := w.append(3, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w.j.Append(w.randomWrites(1, 512)), redoubt.ErrClosed)
}

// The journal fills up, says so with nothing appended, and goes on when it is
// trimmed, in the same files.
func TestFullAndRecycle(t *testing.T) {
	w := newWorld(t, 2, vfs.NewMem())
	w.o.MaxBytes = 4 * MinSegmentSize
	w.mustOpen()
	c, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 6 {
		for err = nil; err == nil; err = w.append(40, redoubt.MaxWriteData) {
		}
		wantErr(t, err, redoubt.ErrJournalFull)
		if h := w.j.Head().LSN; h != w.last {
			t.Fatalf("head %d after a refused append, want %d", h, w.last)
		}
		if err := w.j.Err(); err != nil {
			t.Fatal(err)
		}
		w.verify(0)
		if err := w.j.SetApplied(w.last); err != nil {
			t.Fatal(err)
		}
		if err := w.append(40, redoubt.MaxWriteData); !errors.Is(err, redoubt.ErrJournalFull) && err != nil {
			t.Fatal(err)
		}
		w.low = w.last + 1
		if err := c.Ack(w.last); err != nil {
			t.Fatal(err)
		}
		if err := w.append(1, 4096); err != nil {
			t.Fatal(err)
		}
	}
	if s := w.j.Stats(); s.Files != 4 {
		t.Fatalf("%d files, want 4", s.Files)
	}
	_, err = c.Read(1, 1)
	wantErr(t, err, redoubt.ErrGap)
	_, err = w.j.Cursor("late", 1)
	wantErr(t, err, redoubt.ErrGap)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustOpen()
	w.verify(w.last)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCursorRead(t *testing.T) {
	w := newWorld(t, 3, vfs.NewMem())
	w.mustOpen()
	defer w.j.Close()
	for range 60 {
		if err := w.append(150, 2048); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	var room []redoubt.Write
	for next := redoubt.LSN(1); next <= w.last; {
		if w.rng.IntN(20) == 0 {
			next = 1 + redoubt.LSN(w.rng.Uint64N(uint64(next))) // go back
		}
		var ws []redoubt.Write
		var err error
		done := func() {}
		if most := 1 + w.rng.IntN(200_000); w.rng.IntN(2) == 0 {
			ws, err = c.Read(next, most)
		} else {
			ws, done, err = c.Lend(room, next, most)
			room = ws
		}
		if err != nil || len(ws) == 0 {
			t.Fatal(next, len(ws), err)
		}
		for _, x := range ws {
			if m := w.want[next][0]; x.LSN != next || !bytes.Equal(x.Data, m.Data) || x.Kind != m.Kind {
				t.Fatalf("LSN %d where %d is due, or its content differs", x.LSN, next)
			}
			next++
		}
		for i := range ws { // what was lent is used again
			for k := range ws[i].Data {
				ws[i].Data[k] ^= 0xff
			}
		}
		done()
	}
	if ws, err := c.Read(w.last+1, 1000); len(ws) != 0 || err != nil {
		t.Fatal(len(ws), err)
	}
}

func TestReplica(t *testing.T) {
	w := newWorld(t, 4, vfs.NewMem())
	w.mustOpen()
	defer w.j.Close()
	ws := []redoubt.Write{{LSN: 1, Time: 5, Kind: redoubt.KindTrim, Disk: 1, Extent: redoubt.Extent{Len: 512}}}
	wantErr(t, w.j.AppendReplica(2, ws), redoubt.ErrFenced)
	ws[0].LSN = 2
	wantErr(t, w.j.AppendReplica(1, ws), redoubt.ErrGap)
	ws[0].LSN = 1
	if err := w.j.AppendReplica(1, ws); err != nil {
		t.Fatal(err)
	}
	wantErr(t, w.j.AppendReplica(1, ws), redoubt.ErrGap)
	if w.j.HeadTime() != 5 {
		t.Fatal(w.j.HeadTime())
	}
	wantErr(t, w.j.Append([]redoubt.Write{{Kind: redoubt.KindWrite, Extent: redoubt.Extent{Len: 4}}}), redoubt.ErrInvalid)
	wantErr(t, w.j.Append([]redoubt.Write{{Kind: 99}}), redoubt.ErrInvalid)
}

func TestDirty(t *testing.T) {
	w := newWorld(t, 5, vfs.NewMem())
	w.mustOpen()
	defer w.j.Close()
	for range 40 {
		if err := w.append(50, 4096); err != nil {
			t.Fatal(err)
		}
	}
	after := w.last / 3
	got, err := w.j.Dirty(after)
	if err != nil {
		t.Fatal(err)
	}
	for l, xs := range w.want {
		for _, x := range xs {
			if l <= after || !(x.Kind == redoubt.KindWrite || x.Kind.Zeroes()) {
				continue
			}
			found := false
			for _, e := range got[x.Disk] {
				found = found || e.Intersect(x.Extent) == x.Extent
			}
			if !found {
				t.Fatalf("LSN %d: %s is not dirty", l, x.Extent)
			}
		}
	}
	for _, list := range got {
		for i := 1; i < len(list); i++ {
			if list[i].Off <= list[i-1].End() {
				t.Fatalf("%s and %s are not merged and sorted", list[i-1], list[i])
			}
		}
	}
	if none, err := w.j.Dirty(w.last); err != nil || len(none) != 0 {
		t.Fatal(none, err)
	}
}

// Writers, syncers, a reader and an applier at once.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, 6, vfs.NewMem())
	w.o.Now = nil
	w.o.MaxBytes = 6 * MinSegmentSize
	w.mustOpen()
	cur, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 150
	var wg sync.WaitGroup
	for g := range writers {
		wg.Go(func() {
			rng := newRNG(t, uint64(100+g))
			last := redoubt.LSN(0)
			for n := 0; n < each; {
				ws := []redoubt.Write{randomWrite(rng, 16<<10), randomWrite(rng, 16<<10)}
				err := w.j.Append(ws)
				if errors.Is(err, redoubt.ErrJournalFull) {
					if err := w.j.Wait(ctx, w.j.Head().LSN-1); err != nil {
						t.Error(err)
						return
					}
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if ws[0].LSN <= last || ws[1].LSN != ws[0].LSN+1 {
					t.Errorf("LSNs %d and %d after %d", ws[0].LSN, ws[1].LSN, last)
				}
				last = ws[1].LSN
				if err := w.j.Sync(ctx, last); err != nil {
					t.Error(err)
					return
				}
				if d := w.j.Durable(); d < last {
					t.Errorf("durable %d after a sync of %d", d, last)
				}
				n++
			}
		})
	}
	total := redoubt.LSN(writers * each * 2)
	wg.Go(func() {
		for next := redoubt.LSN(1); next <= total; {
			if err := w.j.Wait(ctx, next-1); err != nil {
				t.Error(err)
				return
			}
			ws, err := cur.Read(next, 100_000)
			if err != nil {
				t.Error(err)
				return
			}
			for _, x := range ws {
				if x.LSN != next {
					t.Errorf("LSN %d where %d is due", x.LSN, next)
				}
				next++
			}
			if err := errors.Join(w.j.SetApplied(next-1), cur.Ack(next-1)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for w.j.Head().LSN < total {
			if _, err := w.j.Dirty(w.j.Tail() - 1); err != nil && !errors.Is(err, redoubt.ErrGap) {
				t.Error(err)
				return
			}
			w.j.Stats()
		}
	})
	wg.Wait()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyFS(w.fs, testDir); err != nil {
		t.Fatal(err)
	}
}

func TestWaitEnds(t *testing.T) {
	w := newWorld(t, 7, vfs.NewMem())
	w.mustOpen()
	c, cancel := context.WithCancel(ctx)
	cancel()
	wantErr(t, w.j.Wait(c, 0), context.Canceled)
	got := make(chan error)
	go func() { got <- w.j.Wait(ctx, 0) }()
	if err := w.append(1, 512); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	go func() { got <- w.j.Wait(ctx, w.last) }()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, <-got, redoubt.ErrClosed)
}
