package journal

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// page reads or, with put, writes one page of a file.
func page(t *testing.T, fs vfs.FS, name string, off int64, put []byte) []byte {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, pageSize)
	if put != nil {
		err = writeFull(f, put, off)
	} else {
		err = readFull(f, p, off)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lifeOf opens what fs holds, works, and is killed.
func (w *world) lifeOf(work func()) {
	w.t.Helper()
	w.mustOpen()
	work()
	w.fs = w.fs.(*vfs.Mem).Kill()
	_ = w.j.Close()
	w.idx = &memIndex{}
}

func (w *world) flushed(ws ...redoubt.Write) {
	w.t.Helper()
	if err := errors.Join(w.j.Append(ws), w.j.Sync(ctx, w.j.Head().LSN)); err != nil {
		w.t.Fatal(err)
	}
}

func zeros(n int) redoubt.Write {
	return redoubt.Write{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Len: uint64(n)}, Data: make([]byte, n), CRC: redoubt.Checksum(make([]byte, n))}
}

// The disk loses the header of a segment, so that the file still has that of an
// earlier use which never got a batch: its records are missed, also when there
// is but one batch.
func TestLostHeader(t *testing.T) {
	for _, batches := range []int{1, 3} {
		for _, older := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d batches, older header %v", batches, older), func(t *testing.T) {
				w := newWorld(t, 1, vfs.NewMem())
				var before, name string
				w.lifeOf(func() {
					w.flushed(zeros(256 << 10)) // so that a spare is wanted
					w.t.Helper()
					for len(w.spares()) == 0 {
						w.j.wake()
					}
					before = w.spares()[0]
				})
				header := page(t, w.fs, before, 0, nil)
				w.lifeOf(func() {
					for len(w.j.chain) < 2 {
						w.flushed(zeros(256 << 10))
					}
					for range batches - 1 {
						w.flushed(zeros(4096))
					}
					name = w.j.chain[1].file.Name()
				})
				if name != before {
					t.Fatalf("%s was used before the spare %s", name, before)
				}
				if !older {
					clear(header)
				}
				page(t, w.fs, name, 0, header)
				if _, err := VerifyFS(w.fs, testDir); !errors.Is(err, redoubt.ErrCorrupt) {
					t.Errorf("verify: %v", err)
				}
				wantErr(t, w.open(), redoubt.ErrCorrupt)
			})
		}
	}
}

// spares returns the names of the files that are ready for use.
func (w *world) spares() (names []string) {
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	for _, s := range w.j.spare {
		names = append(names, s.file.Name())
	}
	return names
}

// The disk loses the mark that an open has put over a torn batch. What was
// flushed behind it lies inside of the torn batch, and is missed.
func TestEvidenceUnderATornBatch(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	var name string
	var at int64
	w.lifeOf(func() {
		w.flushed(zeros(4096))
		at, name = w.j.chain[0].p.end, w.j.chain[0].file.Name()
		if err := w.j.Append([]redoubt.Write{zeros(64 << 10)}); err != nil {
			t.Fatal(err)
		}
	})
	torn := page(t, w.fs, name, at, nil)
	flip(t, w.fs, name, at+32<<10)
	w.lifeOf(func() {
		if h := w.j.Head().LSN; h != 1 {
			t.Fatalf("head %d: the torn batch was not cut", h)
		}
		w.flushed(zeros(4096))
		w.flushed(zeros(4096))
	})
	page(t, w.fs, name, at, torn)
	if _, err := VerifyFS(w.fs, testDir); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("verify: %v", err)
	}
	wantErr(t, w.open(), redoubt.ErrCorrupt)
}

// What a reset or an open has made void is no evidence.
func TestVoidBatchesAreNoEvidence(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.lifeOf(func() {
		for len(w.j.chain) < 3 {
			w.flushed(zeros(256 << 10))
		}
		if err := w.j.Reset(redoubt.Position{Epoch: 2, LSN: 1}); err != nil {
			t.Fatal(err)
		}
	})
	for range 3 {
		w.lifeOf(func() { w.flushed(zeros(4096)) })
	}
	w.mustOpen()
	if h := w.j.Head().LSN; h != 4 {
		t.Errorf("head %d, want 4", h)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
}
