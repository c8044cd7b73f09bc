package segment

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

const smallFile = 16 << 10

// some returns shards that fill several small files; the last but one is larger
// than a file.
func some(rng *rand.Rand) (out []*Shard) {
	for i, n := range []int{3000, 100, 4000, 9000, 0, 2500, 7000, 1, 512, 3 * smallFile, 5000} {
		s := shard(rng, "g"+strconv.Itoa(i%3), uint64(1+2000*i)) // ordinals far apart: each is a span
		s.Epoch, s.Head, s.Data = redoubt.Epoch(1+i%2), random(rng, 100), random(rng, n)
		s.Size = uint32(2 * n)
		out = append(out, s)
	}
	return out
}

func openSmall(t *testing.T, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open(dir, Options{FS: fs, FileSize: smallFile})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// putSome puts what is not stored, and returns what was acknowledged. What is refused must
// be refused for want of room, with a hint.
func putSome(t *testing.T, l *Log, shards []*Shard, acked map[*Shard]bool, where string) (refused int) {
	t.Helper()
	for _, s := range shards {
		err := l.Put(t.Context(), s)
		switch {
		case err == nil:
			acked[s] = true
		case !vfs.IsNoSpace(err) || redoubt.Hint(err) == "":
			t.Fatalf("%s: refused with %v", where, err)
		default:
			refused++
		}
	}
	return refused
}

// holds checks that all that was acknowledged is there, and nothing is damaged.
func holds(t *testing.T, l *Log, acked map[*Shard]bool, rng *rand.Rand, where string) {
	t.Helper()
	for s := range acked {
		if ok, err := l.Has(s.ID); err != nil || !ok {
			t.Fatalf("%s: shard %s is lost: %v", where, s.ID, err)
		}
		check(t, l, s, rng)
	}
	if d := l.Damaged(); len(d) > 0 {
		t.Fatalf("%s: damage %v", where, d)
	}
}

// Whatever room there is when the disk becomes full, to the byte: shards are
// refused, never does the log fail, and what it acknowledged is there, also after
// a crash on the full disk. When there is room again it goes on.
func TestEveryFreeSpace(t *testing.T) {
	seed := seeded.Rand(t).Uint64()
	whole := newFS(t)
	l := openSmall(t, whole)
	var top int64 // the most that is used at once
	for _, s := range some(rand.New(rand.NewPCG(seed, 1))) {
		put(t, l, s)
		top = max(top, whole.Used())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	step := int64(61) // REDOUBT_FREE_STEP=1: every byte
	if testing.Short() {
		step = 997
	} else if n, err := strconv.ParseInt(os.Getenv("REDOUBT_FREE_STEP"), 10, 64); err == nil && n > 0 {
		step = n
	}
	all := some(rand.New(rand.NewPCG(seed, 1)))
	var counts [2]int // runs with and without a refusal
	for free := int64(1); free <= top+2*step; free += step {
		rng := rand.New(rand.NewPCG(seed, uint64(free)))
		where := strconv.FormatInt(free, 10) + " bytes free"
		disk := newFS(t)
		disk.Limit(free)
		l := openSmall(t, disk)
		acked := map[*Shard]bool{}
		refused := putSome(t, l, all, acked, where)
		if err := l.Err(); err != nil {
			t.Fatalf("%s: latched: %v", where, err)
		}
		if len(acked)+refused != len(all) {
			t.Fatalf("%s: %d acknowledged, %d refused", where, len(acked), refused)
		}
		counts[min(refused, 1)]++
		holds(t, l, acked, rng, where)

		// Power is cut while the disk is full, and it is full when the node is back.
		torn := disk.Clone(rng)
		torn.Limit(torn.Used())
		again := openSmall(t, torn)
		holds(t, again, acked, rng, where+", after a crash")
		putSome(t, again, all, map[*Shard]bool{}, where+", after a crash")
		if err := errors.Join(again.Err(), again.Close()); err != nil {
			t.Fatalf("%s: after a crash: %v", where, err)
		}

		// The program ends and begins on the full disk; then there is room again.
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		disk.Limit(disk.Used())
		l = openSmall(t, disk)
		holds(t, l, acked, rng, where+", opened again")
		disk.Limit(0)
		if n := putSome(t, l, all, acked, where+", room again"); n > 0 || len(acked) != len(all) || l.Err() != nil {
			t.Fatalf("%s: with room again %d are refused, %d stored: %v", where, n, len(acked), l.Err())
		}
		holds(t, l, acked, rng, where+", room again")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if counts[0] == 0 || counts[1] < 10 {
		t.Errorf("runs without and with a refusal: %v", counts)
	}
}

// Whatever step finds the disk full, and for however many more it stays so:
// nothing but a sync of shards that were written may fail the log.
func TestEveryFullStep(t *testing.T) {
	seed := seeded.Rand(t).Uint64()
	all := some(rand.New(rand.NewPCG(seed, 1)))
	syncs := 0 // of files without shards that are waited for, which failed
	for first, done := int64(1), false; !done; first++ {
		for _, last := range []int64{0, 1, 5} {
			rng := rand.New(rand.NewPCG(seed, uint64(first)))
			where := "step " + strconv.FormatInt(first, 10) + "+" + strconv.FormatInt(last, 10)
			below := newFS(t)
			l := openSmall(t, below) // opening is not what fills the disk
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			disk := vfs.NewFault(below, 0, syscall.ENOSPC)
			l = openSmall(t, disk)
			begin := disk.Count() + first
			disk.FailAt(begin)
			acked := map[*Shard]bool{}
			full := false
			for _, s := range all {
				err := l.Put(t.Context(), s)
				if err == nil {
					acked[s] = true
					continue
				}
				full = true
				if !vfs.IsNoSpace(err) {
					t.Fatalf("%s: %v", where, err)
				}
				if n := disk.Count(); n <= begin+last {
					disk.FailAt(n + 1) // it is still full
				} else {
					disk.FailAt(0)
				}
			}
			disk.FailAt(0)
			done = done || !full
			if err := l.Err(); err != nil {
				var at *fs.PathError
				if !errors.As(err, &at) || at.Op != "sync" {
					t.Fatalf("%s: latched: %v", where, err)
				}
				continue // shards that were written may not be on the disk
			}
			if full {
				syncs++
			}
			if n := putSome(t, l, all, acked, where); n > 0 {
				t.Fatalf("%s: %d are refused with room again", where, n)
			}
			holds(t, l, acked, rng, where)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openSmall(t, below)
			holds(t, l, acked, rng, where+", opened again")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if syncs < 20 {
		t.Errorf("only %d runs saw a full disk and no failure", syncs)
	}
}

// The bound holds for any records, and is tight where each is a span of its own.
func TestFooterBound(t *testing.T) {
	rng := seeded.Rand(t)
	for i := range 300 {
		var y tally
		var hs []*header
		for range rng.IntN(400) {
			h := &header{ID: ID{Group: redoubt.GroupID("group-" + strconv.Itoa(rng.IntN(1+i%7))), UUID: "u", Epoch: redoubt.Epoch(1 + rng.IntN(1+i%4)),
				Ordinal: rng.Uint64N(1 + uint64(i)*5000), Shard: uint8(rng.IntN(3)), CRC: rng.Uint32()}, Type: typeShard, K: 2, M: 1, Len: 200}
			if rng.IntN(8) == 0 {
				h.Type = typeTombstone
			}
			hs = append(hs, h)
			y.add([]*request{{h: h}})
		}
		if n := encodeFooter(1, sector, hs).length() + trailerLen; n > y.bound() {
			t.Fatalf("%d records: a footer of %d bytes, at most %d were said", len(hs), n, y.bound())
		}
	}
	var y tally
	var hs []*header
	for i := range maxSpans {
		h := &header{ID: ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: uint64(i) * (spanGap + 1)}, Type: typeShard}
		hs = append(hs, h)
		y.add([]*request{{h: h}})
	}
	if n := encodeFooter(1, sector, hs).length() + trailerLen; n != y.bound() {
		t.Errorf("a footer of %d bytes, %d were said", n, y.bound())
	}
}

// No file is longer than its room, whatever it is filled with: batches of many
// shards at once, too.
func TestFilesKeepToTheirRoom(t *testing.T) {
	rng := seeded.Rand(t)
	disk := newFS(t)
	l, err := Open(dir, Options{FS: disk, FileSize: smallFile})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	const n = 200
	for i := range n {
		s := shard(rng, "g"+strconv.Itoa(i%5), uint64(i)*3000)
		s.Head, s.Data = nil, random(rng, rng.IntN(3000))
		go func() { errs <- l.Put(t.Context(), s) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	es, err := disk.ReadDir(dir)
	if err != nil || len(es) < 3 {
		t.Fatalf("%d files, %v", len(es), err)
	}
	for _, e := range es {
		if info, err := e.Info(); err != nil || info.Size() > smallFile {
			t.Errorf("%s: %d bytes, %v", e.Name(), info.Size(), err)
		}
	}
}
