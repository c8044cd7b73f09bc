package catalog

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// Stretches of which nothing is left are joined: what is left is found as
// before, a lookup in a stretch finds a segment of the same stretch, points and
// their times keep their own segments, and snapshots, copies and tallies agree.
func TestWhatIsGoneIsJoined(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMachine(t, 3)
	m.must(createG("g"))
	g := m.group("g")
	const n = 4*chunkLen + 100
	lsn, at := redoubt.LSN(0), int64(1000)
	for i := range uint64(n) {
		s := seg(g, i, lsn+1, lsn+1+redoubt.LSN(rng.IntN(5)))
		s.FirstTime = at + int64(rng.IntN(3))
		s.LastTime = s.FirstTime + int64(rng.IntN(3))
		s.Baseline = 0
		if i == 700 {
			s.Baseline = s.First
		}
		lsn, at = s.Last, s.LastTime
		m.s.addSegment("g", &s)
	}
	h := m.s.history("g", 1)
	var list []Segment
	listed := func(s *state) []Segment { return (&Catalog{s: s}).Segments("g", 1, 0, n) }
	horizon := redoubt.LSN(uint64(lsn) * 7 / 8)
	kept := map[redoubt.LSN]bool{}
	for round := range 4 { // more and more goes
		for i := range uint64(n) {
			if r := h.at(i); r.last < horizon && r.size != 0 && (rng.IntN(4) == 0 || i%chunkLen > 900 || i < chunkLen) && i != 5 {
				s := m.s.segment(1, i, r)
				nothing(&s)
				m.s.replaceSegment("g", h, &s)
			}
		}
		if round == 0 {
			list = listed(m.s)
		}
		for i := range list {
			if h.at(uint64(i)).size == 0 {
				nothing(&list[i])
			}
		}
		r := &Retention{Tracks: []Track{{Epoch: 1, Horizon: horizon}}}
		clear(kept)
		for l := redoubt.LSN(1); l < horizon; l += redoubt.LSN(1 + rng.IntN(2000>>round)*(round+1)) {
			r.Tracks[0].Points = append(r.Tracks[0].Points, Kept{LSN: l})
			kept[l] = true
		}
		frozen := m.s.freeze()
		before := fmt.Sprint(listed(frozen))
		m.s.joinGone(h, Work{Epoch: 1, From: 0, To: n}, r)
		if before != fmt.Sprint(listed(frozen)) {
			t.Fatal("a frozen copy changed")
		}
		m.checkTallies()
		back := reload(t, m.s)
		(&machine{t: t, s: back}).checkTallies()
		if fmt.Sprint(listed(back)) != fmt.Sprint(listed(m.s)) || back.history("g", 1).len() != n {
			t.Fatal("the snapshot is of another history")
		}
		agree(t, &Catalog{s: back}, list, lsn, at)
		for l := range kept {
			want, _ := find(list, l)
			if got, _ := (&Catalog{s: back}).FindSegment("g", 1, l); list[want].Gone() && round == 0 && fmt.Sprint(got) != fmt.Sprint(list[want]) {
				t.Fatalf("the segment of the point %d is %+v, was %+v", l, got, list[want])
			}
		}
	}
	if c := h.chunks[0]; len(c.recs) > 1+2*len(kept)+4 {
		t.Errorf("%d records for a chunk of which one segment is left", len(c.recs))
	}
	if h.chunks[len(h.chunks)-1].starts != nil {
		t.Error("the last chunk must take more segments")
	}
	next := seg(g, n, lsn+1, lsn+9)
	m.s.addSegment("g", &next)
	if got := m.s.segment(1, n, h.at(n)); fmt.Sprint(got) != fmt.Sprint(next) {
		t.Errorf("the next segment is %+v", got)
	}
}

func find(list []Segment, l redoubt.LSN) (int, bool) {
	for i := range list {
		if list[i].First <= l && l <= list[i].Last {
			return i, true
		}
	}
	return 0, false
}

// agree compares all lookups with the list of what was there before it was joined.
func agree(t *testing.T, c *Catalog, list []Segment, lsn redoubt.LSN, at int64) {
	t.Helper()
	live := make([]int, len(list)+1) // how many are left before
	for i := range list {
		live[i+1] = live[i]
		if !list[i].Gone() {
			live[i+1]++
		}
	}
	same := func(what string, got Segment, want int) {
		t.Helper()
		i := int(got.Ordinal)
		if list[want].Gone() {
			if lo, hi := min(i, want), max(i, want); !got.Gone() || live[hi+1] != live[lo] {
				t.Fatalf("%s: segment %d is not of the stretch of %d", what, i, want)
			}
		} else if fmt.Sprint(got) != fmt.Sprint(list[want]) {
			t.Fatalf("%s: got %+v, want %+v", what, got, list[want])
		}
	}
	want := 0
	for l := redoubt.LSN(1); l <= lsn; l++ {
		for list[want].Last < l {
			want++
		}
		got, ok := c.FindSegment("g", 1, l)
		if !ok || got.First > l || got.Last < l {
			t.Fatalf("LSN %d: %+v, %v", l, got, ok)
		}
		same(fmt.Sprint("LSN ", l), got, want)
	}
	want = 0
	for x := list[0].FirstTime; x <= at; x++ {
		for want+1 < len(list) && list[want+1].FirstTime <= x {
			want++
		}
		got, ok := c.FindTime("g", 1, x)
		if !ok {
			t.Fatalf("time %d: nothing", x)
		}
		same(fmt.Sprint("time ", x), got, want)
	}
	for i, next := len(list)-1, uint64(len(list)); i >= 0; i-- {
		if !list[i].Gone() {
			next = uint64(i)
		}
		if got := c.FirstLeft("g", c.s.groups["g"].UUID, 1, uint64(i), uint64(len(list)+7)); got != next {
			t.Fatalf("from %d on the first that is left is %d, not %d", i, got, next)
		}
	}
	for i := range list {
		if got := c.Segments("g", 1, uint64(i), 1); len(got) != 1 || got[0].Gone() != list[i].Gone() || got[0].Ordinal != uint64(i) {
			t.Fatalf("segment %d: %+v", i, got)
		}
	}
}

// A catalog that is behind, as after a start without a leader, does not say that
// nothing is left of a group which it does not know yet: the index would let go of
// all that it has of it.
func TestSomethingIsLeftOfAnUnknownGroup(t *testing.T) {
	m := newMachine(t, 3)
	c := &Catalog{s: m.s}
	if got := c.FirstLeft("g", "uuid-g", 1, 3, 9); got != 3 {
		t.Errorf("of a group that is not known yet the first that is left is %d, not 3", got)
	}
	m.protected("g")
	if got := c.FirstLeft("g", "another", 1, 0, 2); got != 2 {
		t.Errorf("of a group that had the name before %d is left", got)
	}
}

// However long ago writing began: what is gone takes nothing.
func TestMillionsGoneTakeNothing(t *testing.T) {
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
		if i%chunkLen == 0 && i > 0 {
			h := m.s.history("g", 1)
			for j := i - chunkLen; j < i; j++ {
				gone := m.s.segment(1, j, h.at(j))
				nothing(&gone)
				m.s.replaceSegment("g", h, &gone)
			}
			m.s.joinGone(h, Work{Epoch: 1, From: i - chunkLen, To: i}, &Retention{Tracks: []Track{{Epoch: 1, Horizon: redoubt.LSN(i)}}})
		}
	}
	if used := int64(heap()) - int64(before); used > 1<<20 {
		t.Errorf("%d bytes for %d segments that are gone", used, n)
	}
	w := &counter{}
	if err := writeSnapshot(w, m.s.freeze()); err != nil || w.n > 512<<10 {
		t.Errorf("a snapshot of %d bytes, %v", w.n, err)
	}
	runtime.KeepAlive(m)
}
