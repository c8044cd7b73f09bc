package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

const testDir = "/j"

// anyTime in the model stands for a time that is not known.
const anyTime = -1

// world is a journal under test with a model of what it must hold.
type world struct {
	t    testing.TB
	rng  *rand.Rand
	fs   vfs.FS
	idx  *memIndex
	o    Options
	j    *Journal
	want map[redoubt.LSN][]redoubt.Write // records by LSN
	low  redoubt.LSN                     // first LSN that may not be trimmed
	last redoubt.LSN
}

func newRNG(t testing.TB, seed uint64) *rand.Rand {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 7))
}

func newWorld(t testing.TB, seed uint64, fs vfs.FS) *world {
	w := &world{t: t, rng: newRNG(t, seed), fs: fs, idx: &memIndex{}, want: map[redoubt.LSN][]redoubt.Write{}, low: 1}
	clock := time.Unix(1_700_000_000, 0)
	w.o = Options{SegmentSize: MinSegmentSize, MaxBytes: 16 * MinSegmentSize, Create: true, Start: redoubt.Position{Epoch: 1},
		Now: func() time.Time { clock = clock.Add(time.Millisecond); return clock }}
	return w
}

func (w *world) open() error {
	w.o.FS = w.fs
	w.o.index = func() (index, error) { return w.idx, nil }
	j, err := Open(testDir, w.o)
	w.j = j
	return err
}

func (w *world) mustOpen() {
	w.t.Helper()
	if err := w.open(); err != nil {
		w.t.Fatal(err)
	}
}

// randomWrites makes up to n records; data is copied into the model by keep.
func (w *world) randomWrites(n, maxData int) []redoubt.Write {
	ws := make([]redoubt.Write, 1+w.rng.IntN(n))
	for i := range ws {
		ws[i] = randomWrite(w.rng, maxData)
	}
	return ws
}

func randomWrite(rng *rand.Rand, maxData int) redoubt.Write {
	x := redoubt.Write{Disk: redoubt.DiskID(1 + rng.IntN(2)), Kind: redoubt.KindWrite}
	switch rng.IntN(10) {
	case 0:
		x.Kind, x.Extent = redoubt.KindZero, redoubt.Extent{Off: rng.Uint64N(1<<40) &^ 511, Len: 4 << 30}
	case 1:
		x.Kind, x.Extent = redoubt.KindTrim, redoubt.Extent{Off: rng.Uint64N(1<<20) &^ 511, Len: 4096}
	case 2:
		x.Kind, x.Data = redoubt.KindBookmark, []byte("before the update")
	default:
		x.Data = make([]byte, 512*(1+rng.IntN(maxData/512)))
		for i := 0; i+8 <= len(x.Data); i += 64 {
			le.PutUint64(x.Data[i:], rng.Uint64())
		}
		x.Extent = redoubt.Extent{Off: rng.Uint64N(1<<30) &^ 511, Len: uint64(len(x.Data))}
		x.CRC = redoubt.Checksum(x.Data)
	}
	return x
}

// keep puts what was appended into the model.
func (w *world) keep(ws []redoubt.Write) {
	for _, x := range ws {
		if x.LSN != w.last {
			w.want[x.LSN] = nil
		}
		x.Data = bytes.Clone(x.Data)
		w.want[x.LSN] = append(w.want[x.LSN], x)
		w.last = x.LSN
	}
}

func (w *world) append(n, maxData int) error {
	ws := w.randomWrites(n, maxData)
	err := w.j.Append(ws)
	if err == nil {
		w.keep(ws)
	}
	return err
}

// verify checks that the journal holds exactly the model's records up to its
// head, and that the head is at least atLeast.
func (w *world) verify(atLeast redoubt.LSN) {
	w.t.Helper()
	head := w.j.Head().LSN
	if head < atLeast {
		w.t.Fatalf("head %d, but %d was synced", head, atLeast)
	}
	if head > w.last {
		w.t.Fatalf("head %d, but only %d were appended", head, w.last)
	}
	tail := w.j.Tail()
	if tail > w.low {
		w.t.Fatalf("tail %d, but nothing from %d on may be trimmed", tail, w.low)
	}
	tail = w.low // what lies below may go at any moment
	next, part := tail, 0
	err := w.j.Replay(tail, func(x *redoubt.Write) error {
		if part == len(w.want[next]) {
			next, part = next+1, 0
		}
		if x.LSN != next {
			return fmt.Errorf("LSN %d where %d is due", x.LSN, next)
		}
		m := w.want[next][part]
		part++
		if x.Time != m.Time && m.Time != anyTime || x.Kind != m.Kind || x.Disk != m.Disk || x.Extent != m.Extent || x.CRC != m.CRC || !bytes.Equal(x.Data, m.Data) {
			return fmt.Errorf("LSN %d part %d of %d differs from what was appended: %v %s %s, want %v %s %s", next, part, len(w.want[next]), x.Time, x.Kind, x.Extent, m.Time, m.Kind, m.Extent)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if head >= tail && (next != head || part != len(w.want[head])) {
		w.t.Fatalf("replay ended at %d.%d, the head is %d", next, part, head)
	}
}

// forget drops what a crash has taken from the model.
func (w *world) forget() {
	for l := w.j.Head().LSN + 1; l <= w.last; l++ {
		delete(w.want, l)
	}
	w.last = w.j.Head().LSN
}

// memIndex keeps checkpoints in memory; old is one of an earlier time. A test
// that saves one itself may meet the keeper, and after a crash the keeper of
// the life before.
type memIndex struct {
	mu       sync.Mutex
	now, old *checkpoint
	err      error
}

func (m *memIndex) load() (*checkpoint, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now, nil
}

func (m *memIndex) save(c *checkpoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.old, m.now = m.now, c
	return nil
}
func (m *memIndex) close() error { return nil }

// afterCrash returns an index as a crash may leave it: lost, old or as it was.
func (m *memIndex) afterCrash(rng *rand.Rand) *memIndex {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch rng.IntN(3) {
	case 0:
		return &memIndex{}
	case 1:
		return &memIndex{now: m.old}
	}
	return &memIndex{now: m.now}
}

var ctx = context.Background()

func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}
