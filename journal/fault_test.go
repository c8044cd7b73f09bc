package journal

import (
	"errors"
	"math"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

var errDisk = errors.New("injected disk error")

// Every operation of the disk fails once, in turn, until a whole run has none.
// After a failure nothing succeeds (S6), and nothing that was synced is lost.
func TestFaultAtEachOperation(t *testing.T) {
	least, stride := int64(30), int64(math.MaxInt64)
	if testing.Short() { // for the race detector
		least, stride = 10, 5
	}
	for _, cause := range []error{errDisk, syscall.ENOSPC} {
		tried := int64(0)
		for n := int64(1); faultRun(t, n, cause); n += 1 + n/stride {
			tried++
		}
		if tried < least {
			t.Fatalf("only %d operations were tried", tried)
		}
	}
}

func faultRun(t *testing.T, n int64, cause error) (hit bool) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem, n, cause)
	w := newWorld(t, uint64(n), fault)
	w.o.MaxBytes = 3 * MinSegmentSize
	synced := redoubt.LSN(0)
	err := w.open()
	if err != nil {
		if !errors.Is(err, cause) {
			t.Fatalf("operation %d: %v", n, err)
		}
	} else {
		synced = faultLife(t, w, n)
		_ = w.j.Close()
	}
	hit = fault.Count() >= n
	fault.FailAt(0)
	w.mustOpen()
	w.verify(synced)
	w.forget()
	if err := w.append(5, 4096); err != nil && !errors.Is(err, redoubt.ErrJournalFull) {
		t.Fatalf("operation %d: %v", n, err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatalf("operation %d: %v", n, err)
	}
	return hit
}

func faultLife(t *testing.T, w *world, n int64) (synced redoubt.LSN) {
	latched := false
	check := func(err error) bool {
		if latched && err == nil {
			t.Fatalf("operation %d: success after a failure", n)
		}
		latched = latched || errors.Is(err, redoubt.ErrFailed)
		return err == nil
	}
	cur, err := w.j.Cursor("c", 0)
	check(err)
	for range 25 {
		ws := w.randomWrites(20, 64<<10)
		err := w.j.Append(ws)
		if check(err) {
			w.keep(ws)
		} else if errors.Is(err, redoubt.ErrFailed) {
			// An append that failed may be there after all, or a part of it.
			for i := range ws {
				ws[i].LSN, ws[i].Time = w.last+1+redoubt.LSN(i), anyTime
			}
			w.keep(ws)
			return synced
		}
		if check(w.j.Sync(ctx, w.last)) {
			synced = w.last
		}
		if !check(w.j.SetApplied(w.last)) {
			continue
		}
		if cur != nil && check(cur.Ack(w.last)) {
			w.low = w.last + 1
		}
	}
	check(w.j.PutState("k", []byte("v")))
	return synced
}

// The index's failures never stop the journal.
func TestIndexFailure(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.mustOpen()
	w.idx.err = errDisk
	if err := w.append(5, 512); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if s := w.j.Stats(); !errors.Is(s.IndexErr, errDisk) {
		t.Fatal(s.IndexErr)
	}
	w.mustOpen()
	defer w.j.Close()
	w.verify(w.last)
}
