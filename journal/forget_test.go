package journal

import (
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// forgetFS fails its n-th sync as Linux does: what was dirty stays readable, is
// clean, and never reaches the disk. With lie the sync says nothing of it.
type forgetFS struct {
	vfs.FS
	mem *vfs.Mem
	lie bool

	mu sync.Mutex
	n  int // syncs to go
}

// done reports whether the n-th sync is over.
func (f *forgetFS) done() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n <= 0
}

func (f *forgetFS) due() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	return f.n == 0
}

func (f *forgetFS) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	file, err := f.FS.OpenFile(name, flag, perm)
	return &forgetFile{file, f}, err
}

type forgetFile struct {
	vfs.File
	f *forgetFS
}

func (f *forgetFile) Sync() error {
	if !f.f.due() {
		return f.File.Sync()
	}
	f.f.mem.Forget(f.Name())
	if f.f.lie {
		return nil
	}
	return errDisk
}

// A sync fails, the process is killed, the next one reads from the page cache
// what is not on the disk, goes on, and the power is cut: nothing that was
// synced may be gone. `redoubt crashtest` found this.
func TestFailedSyncThenKillThenCut(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		w := newWorld(t, uint64(n), mem)
		w.mustOpen()
		synced := w.last
		work := func() error {
			err := w.append(5, 4096)
			if err == nil {
				err = w.j.Sync(ctx, w.last)
			}
			if err == nil {
				synced = w.last
			}
			return err
		}
		if err := errors.Join(work(), w.append(5, 4096)); err != nil {
			t.Fatal(err)
		}
		mem = mem.Crash(w.rng)
		_ = w.j.Close() // of a dead disk
		f := &forgetFS{FS: mem, mem: mem, n: n}
		w.fs = f
		err := w.open()
		if err == nil {
			w.verify(synced)
			w.forget()
			err = errors.Join(work(), work())
		}
		if err != nil && !errors.Is(err, errDisk) {
			t.Fatalf("sync %d: %v", n, err)
		}
		hit := f.done()
		mem = mem.Kill()
		if w.j != nil {
			_ = w.j.Close()
		}
		w.fs = mem
		w.mustOpen()
		w.verify(synced)
		w.forget()
		synced = w.last
		if err := work(); err != nil {
			t.Fatalf("sync %d: %v", n, err)
		}
		mem = mem.Crash(w.rng)
		_ = w.j.Close()
		w.fs = mem
		if err := w.open(); err != nil {
			t.Fatalf("after sync %d failed: %v", n, err)
		}
		w.verify(synced)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		if !hit {
			if n < 4 {
				t.Fatalf("only %d syncs were tried", n)
			}
			return
		}
	}
}

// A copy of the facts is in the page cache only, and its place on the disk is
// damaged: an open that reads it and is cut anywhere leaves one that can be read.
func TestFactsInTheCacheOnly(t *testing.T) {
	for bad := range 2 {
		for m, through := int64(1), false; !through; m++ {
			mem := vfs.NewMem()
			w := newWorld(t, uint64(m), mem)
			w.mustOpen()
			if err := errors.Join(w.append(5, 4096), w.j.Close()); err != nil {
				t.Fatal(err)
			}
			name := factsNames(testDir)[bad]
			f, err := mem.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, factsGrain)
			if err := errors.Join(readFull(f, b, 0), writeFull(f, make([]byte, factsGrain), 0), f.Sync(), writeFull(f, b, 0)); err != nil {
				t.Fatal(err)
			}
			mem.Forget(name)
			fault := vfs.NewFault(mem.Kill(), m, errDisk)
			fault.StayDown()
			w.fs = fault
			if err = w.open(); err == nil {
				through = true
				mem = mem.Kill()
				_ = w.j.Close()
			}
			w.fs = mem.Kill().Crash(w.rng)
			w.mustOpen()
			w.verify(w.last)
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// anyLSN is above every LSN of these tests.
const anyLSN = redoubt.LSN(1 << 40)

// A sync lies once, at any moment of a journal whose segments are recycled, and
// later ones do not: the next open, or the replay after it, says that something is missing, or nothing is.
func TestLyingSyncIsNoticed(t *testing.T) {
	noticed := 0
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		f := &forgetFS{FS: mem, mem: mem, n: n, lie: true}
		w := newWorld(t, uint64(n), f)
		w.o.MaxBytes = 3 * MinSegmentSize
		w.mustOpen()
		flush := func() {
			if err := w.j.Sync(ctx, w.last); err != nil {
				t.Fatal(err)
			}
		}
		synced := anyLSN
		for more := 2; more > 0 && (f.done() || w.last < 200); { // two honest syncs after the lie
			size, before := 64<<10, w.last
			if f.done() { // small, so that there is room without a trim
				more, size = more-1, 4096
			}
			for range 4 {
				if err := w.append(5, size); err != nil && !errors.Is(err, redoubt.ErrJournalFull) {
					t.Fatal(err)
				}
			}
			flush()
			if w.last == before && f.done() { // full: nobody can vouch for what is lost
				synced = 0
			}
			if f.done() {
				continue
			}
			if err := w.j.SetApplied(w.last); err != nil {
				t.Fatal(err)
			}
			w.low = w.last + 1
		}
		synced = min(synced, w.last)
		mem = mem.Crash(w.rng)
		_ = w.j.Close() // of a dead disk
		w.fs, w.idx = mem, &memIndex{}
		switch err := w.open(); {
		case errors.Is(err, redoubt.ErrCorrupt):
			noticed++
		case err != nil:
			t.Fatalf("sync %d: %v", n, err)
		default:
			// In a full segment the footer vouches, and the read tells.
			err := w.j.Replay(w.low, func(*redoubt.Write) error { return nil })
			if errors.Is(err, redoubt.ErrCorrupt) {
				noticed++
			} else {
				w.verify(synced)
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if !f.done() {
			break
		}
	}
	if noticed < 3 {
		t.Errorf("%d lies noticed: the test does not test", noticed)
	}
}
