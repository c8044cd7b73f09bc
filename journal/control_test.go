package journal

import (
	"fmt"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A power cut during Reset, SetEpoch, PutState or the making of a cursor, at
// every operation of the disk: all or nothing.
func TestControlIsAtomic(t *testing.T) {
	acts := map[string]struct {
		do    func(j *Journal) error
		state func(j *Journal) string
	}{
		"reset": {func(j *Journal) error { return j.Reset(redoubt.Position{Epoch: 5, LSN: 20}) },
			func(j *Journal) string {
				return fmt.Sprint(j.Head(), j.Cursors()["c"] == 20, j.Applied() == 20)
			}},
		"epoch": {func(j *Journal) error { return j.SetEpoch(9) },
			func(j *Journal) string { return fmt.Sprint(j.Epoch()) }},
		"state": {func(j *Journal) error { return j.PutState("k", make([]byte, 60<<10)) },
			func(j *Journal) string { v, ok, _ := j.State("k"); return fmt.Sprint(len(v), ok) }},
		"cursor": {func(j *Journal) error { _, err := j.Cursor("new", 7); return err },
			func(j *Journal) string { return fmt.Sprint(j.Cursors()["new"]) }},
	}
	for name, act := range acts {
		t.Run(name, func(t *testing.T) {
			old, done := 0, 0
			for n := int64(1); ; n++ {
				mem := vfs.NewMem()
				fault := vfs.NewFault(mem, 0, errDisk)
				fault.StayDown()
				w := newWorld(t, uint64(n), fault)
				w.o.noSpare = true // so that the keeper does nothing meanwhile
				w.mustOpen()
				for w.last < 40 {
					if err := w.append(6, 8192); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.j.Cursor("c", 3); err != nil {
					t.Fatal(err)
				}
				if err := w.j.Sync(ctx, w.last); err != nil {
					t.Fatal(err)
				}
				before := act.state(w.j)
				fault.FailAt(fault.Count() + n)
				err := act.do(w.j)
				after := act.state(w.j)
				w.fs = mem.Crash(w.rng)
				_ = w.j.Close()
				w.idx = w.idx.afterCrash(w.rng)
				w.mustOpen()
				got := act.state(w.j)
				if _, ok := w.j.Cursors()["c"]; !ok {
					t.Fatalf("operation %d: the cursor that was made before is lost", n)
				}
				switch {
				case err == nil && got != after:
					t.Fatalf("operation %d: it succeeded with %s, after the crash %s", n, after, got)
				case got == before:
					old++
					w.verify(w.last)
				default:
					done++
				}
				if name == "reset" && got != before {
					w.want, w.last, w.low = map[redoubt.LSN][]redoubt.Write{}, 20, 21
				}
				if err := w.append(6, 8192); err != nil {
					t.Fatal(err)
				}
				if err := w.j.Close(); err != nil {
					t.Fatal(err)
				}
				w.mustOpen()
				w.verify(w.last)
				if err := w.j.Close(); err != nil {
					t.Fatal(err)
				}
				if err == nil {
					break
				}
			}
			if old == 0 || done == 0 {
				t.Fatalf("%d times as before, %d times done: the crash does not hit", old, done)
			}
		})
	}
}

func TestSetEpochOrder(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.mustOpen()
	wantErr(t, w.j.SetEpoch(1), redoubt.ErrInvalid)
	if err := w.append(5, 512); err != nil {
		t.Fatal(err)
	}
	if err := w.j.SetEpoch(4); err != nil {
		t.Fatal(err)
	}
	if w.j.Durable() != w.last {
		t.Fatal("the fork is not durable")
	}
	if err := w.append(5, 512); err != nil {
		t.Fatal(err)
	}
	if err := w.j.RemoveCursor("none"); err == nil {
		t.Fatal("removed a cursor that is not there")
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustOpen()
	defer w.j.Close()
	w.verify(w.last)
	if w.j.Epoch() != 4 {
		t.Fatal(w.j.Epoch())
	}
}

// A cursor that was removed and made again does not get the old one's place
// from an index that lags behind.
func TestCursorSerial(t *testing.T) {
	w := newWorld(t, 2, vfs.NewMem())
	w.mustOpen()
	for w.last < 50 {
		if err := w.append(5, 512); err != nil {
			t.Fatal(err)
		}
	}
	c, err := w.j.Cursor("c", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Ack(40); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil { // saves the index
		t.Fatal(err)
	}
	stale := &memIndex{now: w.idx.now} // closed: nobody else uses it
	w.mustOpen()
	if err := w.j.RemoveCursor("c"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Cursor("c", 10); err != nil {
		t.Fatal(err)
	}
	mem := w.fs.(*vfs.Mem).Crash(w.rng)
	_ = w.j.Close()
	w.fs, w.idx = mem, stale
	w.mustOpen()
	defer w.j.Close()
	if a := w.j.Cursors()["c"]; a != 10 {
		t.Fatalf("acked %d, want 10", a)
	}
}
