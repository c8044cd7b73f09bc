package journal

import (
	"errors"
	"maps"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// The disk goes away at each operation of a life with gaps, in turn, and then
// the power is cut: what was given up is in the map, or was not given up.
func TestGapFaultAtEachOperation(t *testing.T) {
	tried, least, stride := 0, 60, int64(50)
	if testing.Short() { // for the race detector
		least, stride = 10, 5
	}
	for n := int64(1); gapFaultRun(t, n); n += 1 + n/stride {
		tried++
	}
	if tried < least {
		t.Fatalf("only %d operations were tried", tried)
	}
}

func gapFaultRun(t *testing.T, n int64) (hit bool) {
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem, n, errDisk)
	fault.StayDown()
	w := newWorld(t, uint64(n), fault)
	w.o.MaxBytes, w.o.slack = 4*MinSegmentSize, 256
	m := &debtor{records: map[redoubt.LSN]redoubt.Write{}}
	if err := w.open(); err == nil {
		if cur, err := w.j.Cursor("ship", 0); err == nil {
			for range 120 {
				if err := gapStep(w, cur, m); err != nil {
					if !errors.Is(err, errDisk) {
						t.Fatalf("operation %d: %v", n, err)
					}
					break
				}
			}
		}
		_ = w.j.Close()
	}
	hit = fault.Count() >= n
	w.fs, w.idx = mem.Crash(w.rng), w.idx.afterCrash(w.rng)
	w.mustOpen()
	head := w.j.Head().LSN
	maps.DeleteFunc(m.records, func(l redoubt.LSN, _ redoubt.Write) bool { return l > head })
	if b, bad := m.missing(w.j); bad {
		t.Fatalf("operation %d: block %v is lost", n, b)
	}
	if gap, ok := w.j.Gap(); ok && gap.Lost != nil {
		t.Fatalf("operation %d: %v", n, gap.Lost)
	}
	if err := w.j.Close(); err != nil {
		t.Fatalf("operation %d: %v", n, err)
	}
	return hit
}
