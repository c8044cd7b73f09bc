package segment

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// TestModel does what a node does with its log, at random, and compares all
// that the log says with a map: puts, deletes, forgets, space given back, seals
// and restarts, with caches that hold next to nothing.
func TestModel(t *testing.T) {
	rng := seeded.Rand(t)
	for _, cache := range []int64{1, 1 << 10, 1 << 20} {
		fs := newFS(t)
		o := Options{FS: fs, FileSize: 16 << 10, CacheBytes: cache}
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		model, asleep := map[ID]*Shard{}, map[ID]bool{} // asleep: forgotten only, so it may be back after a restart
		for step := range 400 {
			id := ID{Group: redoubt.GroupID([]string{"a", "b"}[rng.IntN(2)]), UUID: "u", Epoch: redoubt.Epoch(1 + rng.IntN(2)),
				Ordinal: rng.Uint64N(40) + 5000*rng.Uint64N(3), Shard: uint8(rng.IntN(2)), CRC: 1}
			switch n := rng.IntN(100); {
			case n < 55:
				if model[id] == nil {
					s := &Shard{ID: id, K: 2, M: 1, Head: random(rng, rng.IntN(40)), Data: random(rng, rng.IntN(900))}
					put(t, l, s)
					model[id] = s
					delete(asleep, id)
				}
			case n < 70:
				if err := l.Delete(context.Background(), id); err != nil {
					t.Fatal(err)
				}
				delete(model, id)
			case n < 85:
				if err := l.Discard(id); err != nil {
					t.Fatal(err)
				}
				if model[id] != nil {
					asleep[id] = true
				}
				delete(model, id)
			case n < 97:
				if _, err := l.Reclaim(context.Background(), 0.15, func(int64) {}); err != nil {
					t.Fatal(err)
				}
			default:
				compare(t, l, model, rng)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if rep, err := Verify(fs, dir); step > 100 && err != nil || len(rep.Damage) > 0 { // at first there may be no file
					t.Fatalf("step %d: %v %+v", step, err, rep)
				}
				if l, err = Open(dir, o); err != nil {
					t.Fatal(err)
				}
				for id := range each(t, l) {
					if model[id] == nil && asleep[id] {
						if err := l.Discard(id); err != nil { // as the collector would
							t.Fatal(err)
						}
					}
				}
			}
		}
		compare(t, l, model, rng)
		l.Close()
	}
}

func compare(t *testing.T, l *Log, model map[ID]*Shard, rng *rand.Rand) {
	t.Helper()
	got := each(t, l)
	for id := range got {
		if model[id] == nil {
			t.Fatalf("%v is there", id)
		}
	}
	for id, s := range model {
		if _, ok := got[id]; !ok || !has(t, l, id) {
			t.Fatalf("%v is not there (listed %v)", id, ok)
		}
		check(t, l, s, rng)
	}
	if st := l.Stats(); st.Shards != len(model) {
		t.Fatalf("%d shards are counted, there are %d", st.Shards, len(model))
	}
	// The sums of live bytes are those of the records.
	live := map[uint64]int64{}
	for _, i := range got {
		live[i.File] += i.Length() + entryLen
	}
	for _, f := range l.sealed() {
		if n := live[f.number]; n > 0 && f.live != n+sector+footerFixed+trailerLen || n == 0 && f.live != 0 {
			t.Fatalf("file %d: %d live bytes are counted, there are %d", f.number, f.live, n)
		}
	}
}

// TestRanges compares the search with a list, with room for all stretches and
// for few.
func TestRanges(t *testing.T) {
	rng := seeded.Rand(t)
	for _, room := range []int64{1 << 20, 20 * stretchBytes} {
		r := newRanges(room)
		type entry struct {
			k            epochKey
			lo, hi, file uint64
		}
		var all []entry
		asked, right := 0, 0
		for file := uint64(1); file <= 300; file++ {
			for range 1 + rng.IntN(3) {
				lo := file * 100
				if rng.IntN(10) == 0 {
					lo = rng.Uint64N(30000)
				}
				e := entry{epochKey{1 + rng.Uint32N(2), 1}, lo, lo + rng.Uint64N(150), file}
				all = append(all, e)
				r.add(e.k, e.lo, e.hi, e.file)
			}
			r.settle()
			if file == 200 {
				gone := func(f uint64) bool { return f%3 == 0 }
				all = slices.DeleteFunc(all, func(e entry) bool { return gone(e.file) })
				r.purge(func(first, last uint64) bool { return first != last || !gone(first) })
			}
			if r.n > max(r.most, 2) {
				t.Fatalf("%d stretches, at most %d", r.n, r.most)
			}
			for range 20 {
				k, o := epochKey{1 + rng.Uint32N(2), 1}, rng.Uint64N(31000)
				var got []stretch
				r.find(k, o, func(first, last uint64) { got = append(got, stretch{first: first, last: last}) })
				for _, e := range all {
					if e.k != k || o < e.lo || o > e.hi {
						continue
					}
					right++
					if !slices.ContainsFunc(got, func(s stretch) bool { return s.first <= e.file && e.file <= s.last }) {
						t.Fatalf("ordinal %d of %v: file %d is not found in %v", o, k, e.file, got)
					}
				}
				for _, s := range got {
					asked += int(s.last - s.first + 1)
				}
			}
		}
		t.Logf("room for %d: %d files asked for %d that have it", r.most, asked, right)
		if room == 1<<20 && asked > right {
			t.Errorf("%d files asked, %d have it", asked, right)
		}
	}
}

// The memory of an opened log does not follow the number of shards.
func TestMemoryDoesNotFollowTheHistory(t *testing.T) {
	fs := newFS(t)
	o := Options{FS: fs, FileSize: 64 << 10, CacheBytes: 32 << 10}
	var before int64
	for _, n := range []uint64{500, 4000} {
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			s := &Shard{ID: ID{Group: "g", UUID: "u", Epoch: redoubt.Epoch(n), Ordinal: i, CRC: 7}, K: 1, Data: []byte("some")}
			put(t, l, s)
		}
		l.Close()
		if l, err = Open(dir, o); err != nil {
			t.Fatal(err)
		}
		fresh := l.Stats().Memory
		for i := range n {
			if !has(t, l, ID{Group: "g", UUID: "u", Epoch: redoubt.Epoch(n), Ordinal: (i * 7919) % n, CRC: 7}) {
				t.Fatalf("shard %d is not there", i)
			}
		}
		st := l.Stats()
		t.Logf("%d shards in %d files: %d bytes when opened, %d when all was looked for", st.Shards, st.Files, fresh, st.Memory)
		if st.Memory > o.CacheBytes {
			t.Errorf("%d bytes, the bound is %d", st.Memory, o.CacheBytes)
		}
		if len(l.open) > 0 || before > 0 && fresh > 16*before {
			t.Errorf("%d bytes after opening %d shards, %d before", fresh, st.Shards, before)
		}
		before = fresh
		l.Close()
	}
}
