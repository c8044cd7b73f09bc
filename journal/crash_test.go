package journal

import (
	"errors"
	"flag"
	"fmt"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

var (
	crashSeeds = flag.Uint64("crash.seeds", 60, "number of seeds of the crash tests")
	crashFirst = flag.Uint64("crash.first", 1, "first seed of the crash tests")
)

// Power cuts and kills at any moment, several in a row: every synced record
// survives, what is left of the others is a prefix, and the journal goes on.
func TestCrash(t *testing.T) {
	seeds := *crashSeeds
	if testing.Short() { // for the race detector
		seeds = max(1, seeds/6)
	}
	for seed := *crashFirst; seed < *crashFirst+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { crashLife(t, seed) })
	}
}

func crashLife(t *testing.T, seed uint64) {
	mem := vfs.NewMem()
	w := newWorld(t, seed, mem)
	w.mustOpen()
	cur, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	synced := redoubt.LSN(0)
	acked, applied := redoubt.LSN(0), redoubt.LSN(0)
	for life := range 6 {
		for range 5 + w.rng.IntN(60) {
			switch w.rng.IntN(12) {
			case 0, 1:
				if err := w.j.Sync(ctx, w.last); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				synced = w.last
			case 2:
				acked = max(acked, w.j.Tail()-1+redoubt.LSN(w.rng.Uint64N(uint64(w.last-w.j.Tail()+2))))
				if err := cur.Ack(acked); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				w.low = min(acked, applied) + 1
				synced = max(synced, acked)
			case 3:
				applied = max(applied, w.j.Tail()-1+redoubt.LSN(w.rng.Uint64N(uint64(w.last-w.j.Tail()+2))))
				if err := w.j.SetApplied(applied); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				w.low = min(acked, applied) + 1
				synced = max(synced, applied)
			case 4:
				w.j.checkpoint()
			case 5: // parts of a copied extent: one LSN
				ws := w.randomWrites(260, 4096)
				for i := range ws {
					ws[i].LSN, ws[i].Time = w.last+1, w.j.HeadTime()+1
				}
				err := w.j.AppendReplica(1, ws)
				if err == nil {
					w.keep(ws)
				} else if !errors.Is(err, redoubt.ErrJournalFull) {
					t.Fatalf("seed %d: %v", seed, err)
				}
			default:
				maxData := 4096
				if w.rng.IntN(8) == 0 {
					maxData = redoubt.MaxWriteData
				}
				if err := w.append(12, maxData); err != nil && !errors.Is(err, redoubt.ErrJournalFull) {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		old := w.j
		switch w.rng.IntN(5) {
		case 0:
			mem = mem.Kill()
			synced = w.last // a kill loses nothing
		case 1:
			if err := w.j.Close(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			synced = w.last
			mem = mem.Crash(w.rng)
		default:
			mem = mem.Crash(w.rng)
		}
		_ = old.Close() // ends its goroutines; the old file system fails everything
		w.idx = w.idx.afterCrash(w.rng)
		w.fs = mem
		if err := w.open(); err != nil {
			t.Fatalf("seed %d, life %d: %v", seed, life, err)
		}
		w.verify(synced)
		w.forget()
		synced = w.last // open makes durable what it found
		if cur, err = w.j.Cursor("ship", 0); err != nil {
			t.Fatal(err)
		}
		if a := cur.Acked(); a > acked {
			t.Fatalf("seed %d: the cursor skipped from %d to %d", seed, acked, a)
		}
		if a := w.j.Applied(); a > applied {
			t.Fatalf("seed %d: applied went from %d to %d", seed, applied, a)
		}
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyFS(mem, testDir); err != nil {
		t.Fatalf("seed %d: %v %+v", seed, err, r)
	}
}
