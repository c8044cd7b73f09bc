package journal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

var lieSeeds = flag.Uint64("lie.seeds", 2, "number of seeds of the tests with a lying disk")

// liar is a journal whose disk lied about one sync, and what it must still hold
// or miss aloud.
type liar struct {
	*world
	mem    *vfs.Mem
	synced redoubt.LSN
	told   bool // the lie was told and can be proven by what was written after it
}

// newLiar lives two lives that depend on seed only: the first leaves a torn
// tail, the n-th sync of the second one lies. Two honest syncs follow, then a
// kill or a power cut.
func newLiar(t *testing.T, seed uint64, n int, kill bool) *liar {
	mem := vfs.NewMem()
	l := &liar{world: newWorld(t, seed, mem), mem: mem}
	l.o.MaxBytes = 3 * MinSegmentSize
	l.mustOpen()
	l.write(20, 128<<10) // a part of it is in full segments
	l.flush()
	for range 1 + l.rng.IntN(8) { // batches that the cut may tear
		l.write(2, 64<<10)
	}
	l.stop(l.rng.IntN(4) == 0)

	f := &forgetFS{FS: l.mem, mem: l.mem, n: n, lie: true}
	l.fs = f
	l.mustOpen()
	l.verify(l.synced)
	l.forget()
	for round := 0; round < 4 && !f.done(); round++ {
		for range 1 + l.rng.IntN(3) {
			l.write(2, 16<<10)
		}
		l.flush()
		if round%2 == 1 { // trims and recycles
			if err := l.j.SetApplied(l.last); err != nil {
				t.Fatal(err)
			}
			l.low = l.last + 1
			l.write(20, 128<<10)
		}
	}
	if l.told = f.done(); l.told {
		for range 2 {
			if !l.write(1, 4096) { // full: nobody vouches for what is lost
				l.told = false
			}
			l.flush()
		}
	}
	l.stop(kill)
	return l
}

// write appends a few records and says whether there was room.
func (l *liar) write(n, maxData int) bool {
	err := l.append(n, maxData)
	if err != nil && !errors.Is(err, redoubt.ErrJournalFull) {
		l.t.Fatal(err)
	}
	return err == nil
}

func (l *liar) flush() {
	if err := l.j.Sync(ctx, l.last); err != nil {
		l.t.Fatal(err)
	}
	l.synced = l.last
}

// stop ends the life.
func (l *liar) stop(kill bool) {
	if kill {
		l.mem, l.synced = l.mem.Kill(), l.last
	} else {
		l.mem = l.mem.Crash(l.rng)
	}
	_ = l.j.Close() // of a dead disk
	l.fs = l.mem
}

// cutOpen opens, with the power cut at the m-th operation, and reports whether
// the open was through before that.
func (l *liar) cutOpen(m int64, dice *rand.Rand) bool {
	fault := vfs.NewFault(l.mem, m, errDisk)
	fault.StayDown()
	l.fs = fault
	err := l.open()
	l.mem = l.mem.Crash(dice)
	if err == nil {
		_ = l.j.Close()
	}
	l.fs = l.mem
	return err == nil || errors.Is(err, redoubt.ErrCorrupt)
}

// judge opens and reports whether the open, or the replay, says that something
// is missing; if not, nothing is.
func (l *liar) judge() (noticed bool) {
	err := l.open()
	if errors.Is(err, redoubt.ErrCorrupt) {
		return true
	}
	if err != nil {
		l.t.Fatal(err)
	}
	defer l.j.Close()
	// In a full segment the footer vouches, and the read tells.
	if err := l.j.Replay(l.low, func(*redoubt.Write) error { return nil }); errors.Is(err, redoubt.ErrCorrupt) {
		return true
	}
	l.verify(l.synced)
	return false
}

// A sync lies, two others do not, and the first recovery after that is cut at
// any of its operations: the next open says that something is missing, or
// nothing is.
func TestLieAndCutRecovery(t *testing.T) {
	noticed, cuts := 0, 0
	seeds := *lieSeeds
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		for n, told := 1, true; told && !t.Failed(); n++ {
			for _, kill := range []bool{false, true} {
				t.Run(fmt.Sprintf("seed %d sync %d kill %v", seed, n, kill), func(t *testing.T) {
					for m, through := int64(0), false; !through; m++ {
						l := newLiar(t, seed<<16+uint64(n), n, kill)
						if told = l.told; !told {
							return
						}
						if m > 0 { // at 0 the recovery is not cut
							through = l.cutOpen(m, rand.New(rand.NewPCG(seed, uint64(m))))
							cuts++
						}
						if l.judge() {
							noticed++
						}
					}
				})
			}
		}
	}
	t.Logf("%d recoveries cut, %d lies noticed", cuts, noticed)
	if noticed < 10 {
		t.Errorf("%d lies noticed: the test does not test", noticed)
	}
}
