package compare

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// sizes of two disks: several windows, mostly holes, and an odd end.
const (
	bigDisk   = (2*WindowChunks+3)*ChunkSize + 5*512
	smallDisk = 3*ChunkSize + 512
)

// check checks what holds for every record.
func check(t *testing.T, w *world, r Record, differing uint64) {
	t.Helper()
	want := blocks(bigDisk) + blocks(smallDisk)
	if r.Blocks != want || r.Differing != differing || !r.Compared || r.Root.IsZero() || r.Finished < r.Started {
		t.Errorf("%d blocks, want %d; %d differ, want %d: %+v", r.Blocks, want, r.Differing, differing, r)
	}
	if n := len(w.notes); n == 0 || w.notes[n-1].Root != r.Root || w.notes[n-1].Differing != r.Differing {
		t.Errorf("the secondary has noted %+v", w.notes)
	}
}

func TestEqual(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	w.write(seeded.Rand(t), 500, bigDisk)
	w.ship(0)
	r, err := w.verify(context.Background(), w.options())
	noErr(t, err)
	check(t, w, r, 0)
	if r.Moved != 0 || r.Unsettled != 0 || r.Passes != 1 || r.At != (redoubt.Position{Epoch: 1, LSN: 500}) {
		t.Errorf("at rest: %+v", r)
	}
}

// While both disks are written to, at all times, equal sites are found equal.
func TestEqualUnderWrites(t *testing.T) {
	for _, within := range []uint64{bigDisk, 2 * ChunkSize} { // everywhere, and in one place
		w := newWorld(t, bigDisk, smallDisk)
		rng := seeded.Rand(t)
		w.write(rng, 500, bigDisk)
		w.ship(0)
		w.onRead = func(int) {
			w.write(rng, 20, within)
			w.ship(rng.IntN(15))
		}
		var local sync.Mutex
		o, mine := w.options(), rand.New(rand.NewPCG(rng.Uint64(), 2))
		w.onLocal = func() {
			local.Lock()
			defer local.Unlock()
			w.write(mine, 4, within)
			w.ship(mine.IntN(15))
		}
		r, err := w.verify(context.Background(), o)
		noErr(t, err)
		check(t, w, r, 0)
		if len(w.log) < 600 || r.HashBytes == 0 {
			t.Errorf("%d writes came in between, %d bytes of hashes", len(w.log)-500, r.HashBytes)
		}
		t.Logf("within %d MiB: %d blocks moved, %d unsettled, %d passes", within>>20, r.Moved, r.Unsettled, r.Passes)
	}
}

// One flipped bit at either side is found, and where it is, while everything
// else is written to.
func TestFlippedBitIsFound(t *testing.T) {
	const quiet = uint64(WindowChunks+1) * ChunkSize // nobody writes from here on
	for _, side := range []string{"source", "secondary"} {
		w := newWorld(t, bigDisk, smallDisk)
		rng := seeded.Rand(t)
		w.write(rng, 2000, bigDisk)
		w.ship(0)
		n := quiet/LeafSize + rng.Uint64N(blocks(bigDisk)-quiet/LeafSize)
		flip := func(c content) {
			b := new(block)
			if old := c[1][n]; old != nil {
				*b = *old
			}
			b[rng.IntN(512)] ^= 1 << rng.IntN(8)
			c[1][n] = b
		}
		if side == "source" {
			flip(w.now)
		} else {
			flip(w.there)
		}
		w.onRead = func(int) {
			w.write(rng, 5, quiet)
			w.ship(3)
		}
		r, err := w.verify(context.Background(), w.options())
		noErr(t, err)
		check(t, w, r, 1)
		off := n * LeafSize
		want := DiskExtent{1, redoubt.Extent{Off: off, Len: min(LeafSize, bigDisk-off)}}
		if len(r.Extents) != 1 || r.Extents[0] != want {
			t.Errorf("%s: found %v, want %v", side, r.Extents, want)
		}
	}
}

// Differences of many blocks are listed as extents.
func TestDifferencesAreListed(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	w.write(seeded.Rand(t), 100, bigDisk)
	w.ship(0)
	for n := uint64(700); n < 720; n++ {
		w.there[2][n] = &block{1, byte(n)}
	}
	w.there[1][3] = &block{9}
	r, err := w.verify(context.Background(), w.options())
	noErr(t, err)
	check(t, w, r, 21)
	want := []DiskExtent{{1, redoubt.Extent{Off: 3 * LeafSize, Len: LeafSize}}, {2, redoubt.Extent{Off: 700 * LeafSize, Len: 20 * LeafSize}}}
	if len(r.Extents) != 2 || r.Extents[0] != want[0] || r.Extents[1] != want[1] {
		t.Errorf("listed %v, want %v", r.Extents, want)
	}
}

// A block that is written to each time is counted and not called different.
func TestBlockThatNeverRests(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	rng := rand.New(rand.NewPCG(1, 1))
	w.write(rng, 100, bigDisk)
	w.ship(0)
	w.onRead = func(int) { // what is shipped is always one write behind
		w.mu.Lock()
		x := redoubt.Write{LSN: redoubt.LSN(len(w.log) + 1), Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: 8192, Len: 512}, Data: make([]byte, 512)}
		x.Data[0] = byte(x.LSN)
		w.now.write(x)
		w.log = append(w.log, x)
		w.mu.Unlock()
		w.ship(1)
	}
	// The write behind: it comes after the position, each time.
	late := &lateWrites{w}
	o := w.options()
	o.Writes = late
	r, err := w.verify(context.Background(), o)
	noErr(t, err)
	check(t, w, r, 0)
	if r.Unsettled != 1 || r.Moved != 1 {
		t.Errorf("%d blocks unsettled, %d moved", r.Unsettled, r.Moved)
	}
}

// lateWrites writes block 2 before each look at what was written.
type lateWrites struct{ *world }

func (l *lateWrites) Since(lsn redoubt.LSN, fn func(redoubt.DiskID, redoubt.Extent)) (redoubt.LSN, error) {
	l.onRead(0)
	return l.world.Since(lsn, fn)
}

// A server that ends, a cut connection and an ended context give an error, and
// leave nothing behind.
func TestEndInTheMiddle(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	w.write(seeded.Rand(t), 500, bigDisk)
	w.ship(0)
	ctx, cancel := context.WithCancel(context.Background())
	w.onRead = func(n int) {
		if n == 3 {
			cancel()
		}
	}
	if _, err := w.verify(ctx, w.options()); err == nil || len(w.notes) != 0 {
		t.Errorf("a comparison that was given up: %v, noted %v", err, w.notes)
	}
	w.onRead = nil
	o := w.options()
	o.UUID = "another"
	if _, err := w.verify(context.Background(), o); !errors.Is(err, redoubt.ErrDenied) {
		t.Errorf("another group: %v", err)
	}
	o = w.options()
	o.Names = func() []redoubt.Disk {
		return append([]redoubt.Disk{{ID: 1, Name: "a", Size: bigDisk + 512}}, w.disks[1:]...)
	}
	if _, err := w.verify(context.Background(), o); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("another size: %v", err)
	}
}

// Questions that no honest client asks end the connection, and take no memory.
func TestBadQuestions(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	open := `{"group":"g","uuid":"u","slot":0}`
	for name, ask := range map[string]func(c net.Conn){
		"before opening": func(c net.Conn) { _ = wire.WriteFrame(c, frameSums, sumsAsked{0, 1, 0, 1}.encode()) },
		"too many":       func(c net.Conn) { _ = wire.WriteFrame(c, frameSums, sumsAsked{0, 1, 0, WindowChunks + 1}.encode()) },
		"beyond the end": func(c net.Conn) {
			_ = wire.WriteFrame(c, frameOpen, []byte(open))
			_ = wire.WriteFrame(c, frameSums, sumsAsked{0, 2, 3, 2}.encode())
		},
		"no such disk": func(c net.Conn) {
			_ = wire.WriteFrame(c, frameOpen, []byte(open))
			_ = wire.WriteFrame(c, frameDetail, encodeWants(0, 3, []want{{0, 0}}))
		},
		"no such slot": func(c net.Conn) { _ = wire.WriteFrame(c, frameOpen, []byte(`{"group":"g","uuid":"u","slot":7}`)) },
		"no such type": func(c net.Conn) { _ = wire.WriteFrame(c, 99) },
		"long":         func(c net.Conn) { _, _ = c.Write([]byte{0xff, 0xff, 0xff, 0x7f, frameOpen, 0, 0, 0, 0, 0, 0, 0}) },
	} {
		c, err := net.Dial("tcp", w.addr)
		noErr(t, err)
		noErr(t, wire.WritePreface(c, tag()))
		noErr(t, wire.ReadPreface(c, tag()))
		ask(c)
		noErr(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
		r := wire.Reader{R: c, Max: maxAnswer}
		for err == nil {
			var typ uint8
			if typ, _, err = r.Next(); typ == frameError && err == nil {
				err = errors.New("refused")
			}
		}
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: no answer", name)
		}
		c.Close()
	}
}

// One side knows that a disk has joined or left before the other does: the
// comparison begins when they agree, and not before.
func TestDisksSettle(t *testing.T) {
	w := newWorld(t, bigDisk, bigDisk)
	w.write(seeded.Rand(t), 20, bigDisk)
	w.ship(0)
	for name, early := range map[string][]redoubt.Disk{
		"one joins":            w.disks[:1],
		"one leaves":           append(w.disks[:2:2], redoubt.Disk{ID: 3, Name: "c", Size: 4096}),
		"one goes, one is new": append(w.disks[:1:1], redoubt.Disk{ID: 3, Name: "c", Size: bigDisk}),
	} {
		o, asked := w.options(), 0
		o.Names = func() []redoubt.Disk {
			if asked++; asked <= 2 {
				return early
			}
			return w.disks
		}
		o.Settle = time.Minute
		if r, err := w.verify(context.Background(), o); err != nil || r.Differing != 0 || asked != 3 {
			t.Errorf("%s: %v, %d blocks differ, asked %d times", name, err, r.Differing, asked)
		}
		o.Names, o.Settle = func() []redoubt.Disk { return early }, settlePause
		if _, err := w.verify(context.Background(), o); !errors.Is(err, redoubt.ErrState) || redoubt.Hint(err) == "" {
			t.Errorf("%s and it stays so: %v", name, err)
		}
	}
}

// TestADiskThatGrowsMeanwhile is written to behind its old end.
func TestADiskThatGrowsMeanwhile(t *testing.T) {
	for name, c := range map[string]struct{ size, to, off uint64 }{
		"far behind its end":       {2 << 20, 200 << 20, 150 << 20},
		"in the block of its end":  {2<<20 + 512, 4 << 20, 2<<20 + 512},
		"in the chunk of its end":  {2<<20 + LeafSize, 4 << 20, 2<<20 + LeafSize},
		"in the block at its end ": {2 << 20, 4 << 20, 2 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.size)
			w.write(rand.New(rand.NewPCG(1, 2)), 50, 1<<20)
			w.ship(0)
			names := w.disks
			w.onRead = func(n int) {
				if n == 1 {
					w.grow(c.to, c.off, 512)
					w.ship(0)
				}
			}
			o := w.options()
			o.Names = func() []redoubt.Disk { return names }
			r, err := w.verify(t.Context(), o)
			if err == nil && (r.Differing != 0 || r.Unsettled != 0) || err != nil && !errors.Is(err, redoubt.ErrState) {
				t.Errorf("%d blocks differ, %d unsettled, %v", r.Differing, r.Unsettled, err)
			}
			if aligned := c.size%LeafSize == 0; aligned && err != nil {
				t.Errorf("it has to begin again: %v", err)
			}
		})
	}
}
