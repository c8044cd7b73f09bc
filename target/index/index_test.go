package index

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// heads keeps the entries of segments in memory, as the shard log does on disk.
type heads struct {
	mu sync.Mutex
	m  map[headKey][]Entry
}

func (h *heads) Entries(_ context.Context, s Series, ordinal uint64) ([]Entry, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	es, ok := h.m[headKey{s, ordinal}]
	if !ok {
		return nil, redoubt.ErrNotFound
	}
	return es, nil
}

const (
	diskSectors = 256
	modelDisks  = 2
)

// cell says what a sector of the model holds: who wrote it.
type cell struct {
	kind    Kind
	epoch   redoubt.Epoch
	ordinal uint64
	crc     uint32 // unique per entry
	at      uint32 // bytes into the entry
}

type image [modelDisks][diskSectors]cell

type world struct {
	h      *heads
	segs   map[redoubt.Epoch][][2]redoubt.LSN // first and last LSN by ordinal
	states map[redoubt.Position]image         // after every LSN
	lin    redoubt.Lineage
	crc    uint32
}

// extend appends segments to the epoch, from the state at base.
func (w *world) extend(rng *rand.Rand, e redoubt.Epoch, base redoubt.Position, segments int) {
	img := w.states[base]
	lsn := base.LSN
	for range segments {
		first := lsn + 1
		ordinal := uint64(len(w.segs[e]))
		var es []Entry
		for i := range 1 + rng.IntN(6) {
			lsn++
			off := rng.IntN(diskSectors)
			n := 1 + rng.IntN(min(diskSectors-off, []int{1, 4, 64, 256}[rng.IntN(4)]))
			d := rng.IntN(modelDisks)
			w.crc++
			en := Entry{LSN: lsn, Disk: redoubt.DiskID(d + 1), Extent: redoubt.Extent{Off: uint64(off) * 512, Len: uint64(n) * 512},
				Zero: rng.IntN(4) == 0, Block: uint32(i), BlockOff: uint32(rng.IntN(3) * 700), CRC: w.crc}
			es = append(es, en)
			for s := range n {
				c := cell{kind: Data, epoch: e, ordinal: ordinal, crc: en.CRC, at: uint32(s * 512)}
				if en.Zero {
					c = cell{kind: Zero}
				}
				img[d][off+s] = c
			}
			w.states[redoubt.Position{Epoch: e, LSN: lsn}] = img
		}
		w.h.m[headKey{Series{"g", "u", e}, ordinal}] = es
		w.segs[e] = append(w.segs[e], [2]redoubt.LSN{first, lsn})
	}
}

func (w *world) spans(p redoubt.Position) []Span {
	var out []Span
	for _, st := range w.lin.Path(p) {
		sp := Span{Series: Series{"g", "u", st.Epoch}}
		for o, seg := range w.segs[st.Epoch] {
			if seg[1] <= st.To {
				sp.Full = uint64(o) + 1
			} else if seg[0] <= st.To {
				sp.Partial, sp.Upto = true, st.To
			}
		}
		out = append(out, sp)
	}
	return out
}

func (w *world) check(t *testing.T, x *Index, p redoubt.Position, rng *rand.Rand) {
	t.Helper()
	ctx := context.Background()
	pre, err := x.Prefix(ctx, w.spans(p))
	if err != nil {
		t.Fatal(err)
	}
	img := w.states[p]
	for range 6 {
		d := rng.IntN(modelDisks)
		off := rng.IntN(diskSectors)
		n := 1 + rng.IntN(diskSectors-off)
		ps, err := pre.Lookup(ctx, redoubt.DiskID(d+1), redoubt.Extent{Off: uint64(off) * 512, Len: uint64(n) * 512})
		if err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		pos := uint64(off) * 512
		for _, q := range ps {
			if q.Extent.Off != pos || q.Extent.Len == 0 {
				t.Fatalf("%v: piece %v does not follow %d", p, q.Extent, pos)
			}
			for b := uint64(0); b < q.Extent.Len; b += 512 {
				got := cell{kind: q.Kind}
				if q.Kind == Data {
					got = cell{Data, q.Ref.Epoch, q.Ref.Ordinal, q.Ref.CRC, q.Ref.Skip + uint32(b)}
				}
				if want := img[d][(pos+b)/512]; got != want {
					t.Fatalf("%v disk %d at %d: got %+v, want %+v", p, d+1, pos+b, got, want)
				}
			}
			pos = q.Extent.End()
		}
		if pos != uint64(off+n)*512 {
			t.Fatalf("%v: pieces end at %d", p, pos)
		}
	}
	for d := range modelDisks {
		var got [diskSectors]bool
		for from := uint64(0); ; {
			e, ok, err := pre.NextData(ctx, redoubt.DiskID(d+1), from, diskSectors*512, 64*512)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for s := e.Off / 512; s < e.End()/512; s++ {
				got[s] = true
			}
			from = e.End()
		}
		for s := range got {
			if got[s] != (img[d][s].kind == Data) {
				t.Fatalf("%v disk %d sector %d: NextData says %v, the model %v", p, d+1, s, got[s], img[d][s].kind)
			}
		}
	}
}

func newWorld(rng *rand.Rand) *world {
	w := &world{h: &heads{m: map[headKey][]Entry{}}, segs: map[redoubt.Epoch][][2]redoubt.LSN{}, states: map[redoubt.Position]image{{Epoch: 1}: {}}}
	w.lin = redoubt.Lineage{{Epoch: 1}}
	w.extend(rng, 1, redoubt.Position{Epoch: 1}, 90)
	for e := redoubt.Epoch(2); e <= 4; e++ {
		parent := w.lin[rng.IntN(len(w.lin))].Epoch
		f, _ := w.lin.Find(parent)
		at := f.At + redoubt.LSN(rng.IntN(int(w.segs[parent][len(w.segs[parent])-1][1]-f.At+1)))
		base := redoubt.Position{Epoch: parent, LSN: at}
		if at == f.At && f.Parent != 0 {
			base = redoubt.Position{Epoch: f.Parent, LSN: f.At}
		}
		w.states[redoubt.Position{Epoch: e, LSN: at}] = w.states[base]
		w.lin = append(w.lin, redoubt.Fork{Epoch: e, Parent: parent, At: at})
		w.extend(rng, e, redoubt.Position{Epoch: e, LSN: at}, 40)
	}
	return w
}

func (w *world) positions() []redoubt.Position {
	var out []redoubt.Position
	for p := range w.states {
		out = append(out, p)
	}
	return out
}

func open(t *testing.T, fs vfs.FS, w *world, o Options) *Index {
	t.Helper()
	o.FS, o.Heads, o.RetryAfter = fs, w.h, time.Millisecond
	x, err := Open("/index", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func settle(t *testing.T, x *Index) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := x.Settle(ctx); err != nil {
		t.Fatal(err)
	}
}

func addAll(x *Index, w *world) {
	for e, segs := range w.segs {
		x.Add(Series{"g", "u", e}, uint64(len(segs)))
	}
}

func TestModel(t *testing.T) {
	for _, fan := range []int{1, 2} {
		rng := seeded.Rand(t)
		w := newWorld(rng)
		fs := vfs.NewMem()
		x := open(t, fs, w, Options{FanBits: fan, FileSize: 16 << 10, CacheBytes: 64 << 10, BigRun: 40})
		ps := w.positions()
		for range 20 { // before any merge: everything comes from heads
			w.check(t, x, ps[rng.IntN(len(ps))], rng)
		}
		addAll(x, w)
		settle(t, x)
		for range 150 {
			w.check(t, x, ps[rng.IntN(len(ps))], rng)
		}
		pre, err := x.Prefix(context.Background(), w.spans(redoubt.Position{Epoch: 1, LSN: w.segs[1][89][1]}))
		if err != nil {
			t.Fatal(err)
		}
		if n := pre.Parts(); n > 3*4 {
			t.Errorf("90 segments are looked up in %d runs", n)
		}
		rep, err := Verify(fs, "/index")
		if err != nil || len(rep.Damage) > 0 || rep.Runs == 0 {
			t.Fatalf("verify: %+v, %v", rep, err)
		}
	}
}

func TestReopenKeepsRuns(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	fs := vfs.NewMem()
	x := open(t, fs, w, Options{FileSize: 8 << 10})
	addAll(x, w)
	settle(t, x)
	runs := x.Stats().Runs
	x.Close()
	x = open(t, fs, w, Options{FileSize: 8 << 10})
	addAll(x, w)
	settle(t, x)
	if st := x.Stats(); st.Runs != runs || st.Merges != 0 {
		t.Fatalf("after reopening %d runs and %d new merges, before %d runs", st.Runs, st.Merges, runs)
	}
	ps := w.positions()
	for range 50 {
		w.check(t, x, ps[rng.IntN(len(ps))], rng)
	}
}

// After a power cut the index is right, whatever it lost.
func TestCrash(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	fs := vfs.NewMem()
	for range 8 {
		x := open(t, fs, w, Options{FileSize: 8 << 10})
		addAll(x, w)
		for range rng.IntN(200) {
			w.check(t, x, redoubt.Position{Epoch: 1, LSN: redoubt.LSN(rng.IntN(50))}, rng)
		}
		fs = fs.Crash(rand.New(rand.NewPCG(rng.Uint64(), 2)))
		x.Close()
	}
	x := open(t, fs, w, Options{FileSize: 8 << 10})
	addAll(x, w)
	settle(t, x)
	ps := w.positions()
	for range 50 {
		w.check(t, x, ps[rng.IntN(len(ps))], rng)
	}
}

// Any flipped byte of an index file is noticed; the answers stay right and the
// run is built again.
func TestFlippedByte(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	ps := w.positions()
	for range 12 {
		fs := vfs.NewMem()
		x := open(t, fs, w, Options{FileSize: 1 << 20})
		addAll(x, w)
		settle(t, x)
		x.Close()
		names, _ := fs.ReadDir("/index")
		f, err := fs.OpenFile(filepath.Join("/index", names[rng.IntN(len(names))].Name()), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		at := rng.Int64N(size)
		b := make([]byte, 1)
		f.ReadAt(b, at)
		b[0] ^= byte(1 << rng.IntN(8))
		f.WriteAt(b, at)
		f.Sync()
		x = open(t, fs, w, Options{FileSize: 1 << 20})
		addAll(x, w)
		for range 60 {
			w.check(t, x, ps[rng.IntN(len(ps))], rng)
		}
		settle(t, x)
	}
}

func TestExtents(t *testing.T) {
	rng := seeded.Rand(t)
	w := newWorld(rng)
	x := open(t, vfs.NewMem(), w, Options{})
	addAll(x, w)
	settle(t, x)
	segs := w.segs[1]
	for range 60 {
		from := redoubt.LSN(rng.IntN(int(segs[89][1])))
		to := from + 1 + redoubt.LSN(rng.IntN(int(segs[89][1]-from)))
		r := Range{Series: Series{"g", "u", 1}, From: from, To: to, First: 1 << 40}
		var want [modelDisks][diskSectors]bool
		for o, s := range segs {
			if s[1] <= from || s[0] > to {
				continue
			}
			if r.First == 1<<40 {
				r.First, r.WholeFirst = uint64(o), s[0] > from
			}
			r.Last, r.WholeLast = uint64(o), s[1] <= to
			for _, e := range w.h.m[headKey{r.Series, uint64(o)}] {
				if e.LSN > from && e.LSN <= to {
					for i := e.Extent.Off / 512; i < e.Extent.End()/512; i++ {
						want[e.Disk-1][i] = true
					}
				}
			}
		}
		got, err := x.Extents(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var have [modelDisks][diskSectors]bool
		for d, es := range got {
			for i, e := range es {
				if i > 0 && es[i-1].End() >= e.Off {
					t.Fatalf("extents touch: %v %v", es[i-1], e)
				}
				for s := e.Off / 512; s < e.End()/512; s++ {
					have[d-1][s] = true
				}
			}
		}
		if have != want {
			t.Fatalf("(%d, %d]: extents differ from the model", from, to)
		}
	}
}

func TestNewerVersionIsNotDamage(t *testing.T) {
	r := &run{Series: Series{"g", "u", 1}, count: 4}
	b := r.encode()
	b[4] = 2
	b = b[:len(b)-4]
	s := redoubt.Checksum(b)
	b = append(b, byte(s), byte(s>>8), byte(s>>16), byte(s>>24))
	if _, _, err := decodeRun(b); !errors.Is(err, redoubt.ErrVersion) {
		t.Fatalf("got %v", err)
	}
}

func FuzzBlock(f *testing.F) {
	bb := blockBuilder{kind: kindLeaf}
	for i := range uint64(20) {
		bb.addLeaf(&flat{disk: 1, off: i * 8192, len: 4096, elen: 4096, ordinal: i, crc: uint32(i), zero: i%3 == 0})
	}
	f.Add(bb.encode(nil, 1, 512)[12:], uint8(0), uint16(20))
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(1), uint16(2))
	f.Fuzz(func(t *testing.T, body []byte, kind uint8, count uint16) {
		if len(body) > maxBlock {
			return
		}
		// A valid frame around arbitrary entries: the checksum must not be
		// what keeps the decoder from harm.
		in := blockBuilder{kind: kind, count: int(count), buf: body}
		b, err := decodeBlock(in.encode(nil, 3, 4096), 3, 4096)
		if err == nil && len(b.leaf)+len(b.inner) != int(count) {
			t.Fatalf("%d entries instead of %d", len(b.leaf)+len(b.inner), count)
		}
	})
}

func FuzzRunHeader(f *testing.F) {
	f.Add((&run{Series: Series{"g", "u", 1}, count: 4}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, rest, err := decodeRun(b); err == nil {
			if string(r.encode()) != string(b[:len(b)-len(rest)]) && b[68]|b[69]|b[70]|b[71] == 0 {
				t.Fatal("another encoding of the same header")
			}
		}
	})
}
