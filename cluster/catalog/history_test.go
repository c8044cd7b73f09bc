package catalog

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// Lookups against the plain answer: a list that is searched from the front.
func TestLookupsAgreeWithAList(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMachine(t, 5)
	m.must(createG("g"))
	var list []Segment
	lsn, at := redoubt.LSN(0), int64(1000)
	for len(list) < 3*chunkLen+17 {
		g := m.group("g")
		var segs []Segment
		for range 1 + rng.IntN(40) {
			s := seg(g, uint64(len(list)+len(segs)), lsn+1, lsn+1+redoubt.LSN(rng.IntN(9)))
			s.FirstTime = at + int64(rng.IntN(3)) // equal times are common
			s.LastTime = s.FirstTime + int64(rng.IntN(3))
			perm := rng.Perm(5)
			s.Nodes = []redoubt.NodeID{nodeName(perm[0]), nodeName(perm[1]), nodeName(perm[2])}
			lsn, at = s.Last, s.LastTime
			segs = append(segs, s)
		}
		m.must(batch(g, segs...))
		list = append(list, segs...)
	}
	c := &Catalog{s: reload(t, m.s), changed: make(chan struct{})}
	same := func(a, b Segment) bool { return fmt.Sprint(a) == fmt.Sprint(b) }
	for l := redoubt.LSN(0); l <= lsn+1; l++ {
		got, ok := c.FindSegment("g", 1, l)
		i := slices.IndexFunc(list, func(s Segment) bool { return s.First <= l && l <= s.Last })
		if ok != (i >= 0) || ok && !same(got, list[i]) {
			t.Fatalf("LSN %d: %+v, %v", l, got, ok)
		}
	}
	for x := int64(990); x <= at+5; x++ {
		got, ok := c.FindTime("g", 1, x)
		i := len(list) - 1
		for i >= 0 && list[i].FirstTime > x {
			i--
		}
		if ok != (i >= 0) || ok && !same(got, list[i]) {
			t.Fatalf("time %d: %+v, %v", x, got, ok)
		}
	}
	if got := c.Segments("g", 1, 1000, 100); len(got) != 100 || !same(got[99], list[1099]) {
		t.Error("a range over a chunk's border")
	}
	if n := uint64(len(list)); c.SegmentCount("g", 1) != n || c.Segments("g", 1, n, 5) != nil || c.Segments("none", 1, 0, 5) != nil {
		t.Error("ranges at the end")
	}
	if h, ok := c.Head("g", 1); !ok || h != lsn {
		t.Errorf("head %d, %v", h, ok)
	}
}

func TestFrozenHistoryDoesNotMove(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMachine(t, 3)
	m.must(createG("g"))
	type shot struct {
		s    *state
		want string
	}
	dump := func(s *state) string {
		c := &Catalog{s: s}
		return fmt.Sprint(c.Segments("g", 1, 0, 1<<20))
	}
	var shots []shot
	for i := range 1500 {
		m.commit("g", 1)
		if rng.IntN(3) == 0 {
			m.must(ShardsStored{Node: "n2", Lost: rng.IntN(2) == 0,
				Shards: []ShardRef{{Group: "g", Epoch: 1, Ordinal: rng.Uint64N(uint64(i + 1)), Shard: 1}}})
		}
		if rng.IntN(100) == 0 {
			f := m.s.freeze()
			shots = append(shots, shot{f, dump(f)})
		}
	}
	for i, s := range shots {
		if dump(s.s) != s.want {
			t.Errorf("snapshot %d of %d changed after it was taken", i, len(shots))
		}
	}
}

func TestMillionSegmentsAreCompact(t *testing.T) {
	if size := unsafe.Sizeof(record{}); size != 64 {
		t.Errorf("a record takes %d bytes", size)
	}
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.group("g")
	heap := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	const n = 1 << 20
	for i := range uint64(n) {
		s := seg(g, i, redoubt.LSN(i+1), redoubt.LSN(i+1))
		m.s.addSegment("g", &s)
	}
	if per := (heap() - before) / n; per > 80 {
		t.Errorf("%d bytes per segment", per)
	}
	runtime.KeepAlive(m)
}

func BenchmarkFindSegment(b *testing.B) {
	m := newMachine(b, 3)
	m.must(createG("g"))
	g := m.group("g")
	const n = 1 << 20
	for i := range uint64(n) {
		s := seg(g, i, redoubt.LSN(i+1), redoubt.LSN(i+1))
		m.s.addSegment("g", &s)
	}
	c := &Catalog{s: m.s}
	b.ReportAllocs()
	l := redoubt.LSN(1)
	for b.Loop() {
		l = (l*7919)%n + 1
		if _, ok := c.FindSegment("g", 1, l); !ok {
			b.Fatal(l)
		}
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := newMachine(b, 3)
	m.must(createG("g"))
	g := m.group("g")
	const n = 1 << 20
	for i := range uint64(n) {
		s := seg(g, i, redoubt.LSN(i+1), redoubt.LSN(i+1))
		m.s.addSegment("g", &s)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := &counter{}
		if err := writeSnapshot(w, m.s.freeze()); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(w.n)
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }
