package blockdev

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// Clients write while rounds apply and memory is used again; what is lent to
// whoever ships does not change until it is given back.
func TestRecent(t *testing.T) {
	rng := seeded.Rand(t)
	r := fileRig(t, GroupOptions{ApplyInterval: 5 * time.Millisecond, MemoryLimit: 8 << 20}, 1<<20, 1<<20)
	sv := serve(t, ServerOptions{}, r)
	cur, err := r.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	enough := make(chan struct{})
	defer writers.Wait()
	defer close(enough)
	for i, export := range []string{"d1", "d2", "d1"} {
		c, rng := sv.client(t, export), rand.New(rand.NewPCG(rng.Uint64(), uint64(i)))
		writers.Go(func() {
			p := make([]byte, 64<<10)
			for n := range 2400 { // what the journal has room for
				select {
				case <-enough:
					return
				default:
				}
				l := redoubt.SectorSize * (1 + rng.IntN(len(p)/redoubt.SectorSize))
				binary.LittleEndian.PutUint64(p[rng.IntN(l-8):], rng.Uint64())
				off := uint64(rng.IntN((1<<20-l)/redoubt.SectorSize)) * redoubt.SectorSize
				if errno, _ := c.do(0, cmdWrite, off, uint32(l), p[:l]); errno != 0 {
					t.Errorf("write %d: errno %d", n, errno)
				}
			}
		})
	}

	hot, cold := 0, 0
	var room []redoubt.Write
	next, deadline := redoubt.LSN(1), time.Now().Add(time.Minute)
	for looks := 0; looks < 50 || hot < 20 || cold < 20; looks++ { // however fast the writers are
		if time.Now().After(deadline) {
			t.Errorf("one of the two ways was not tried: %d records from memory, %d from the journal", hot, cold)
			return
		}
		head := r.j.Head().LSN
		if next > head {
			time.Sleep(time.Millisecond)
			continue
		}
		switch rng.IntN(4) { // however fast the writers are beside us
		case 0, 1:
			next = head - redoubt.LSN(rng.Uint64N(min(8, uint64(head)))) // where memory is
		case 2:
			next = 1 + redoubt.LSN(rng.Uint64N(uint64(head))) // where it hardly is
		}
		ws, done := r.g.Recent(room, next, rng.IntN(1<<20))
		if done != nil {
			hot += len(ws)
		} else if ws, done, err = cur.Lend(room, next, rng.IntN(1<<20)); err != nil {
			t.Fatal(err)
		} else {
			cold += len(ws)
		}
		room = ws
		for again := range 2 {
			for i := range ws {
				if w := &ws[i]; w.LSN != next+redoubt.LSN(i) || redoubt.Checksum(w.Data) != w.CRC {
					t.Fatalf("record %d where %d is due, or its data has changed", w.LSN, next+redoubt.LSN(i))
				}
			}
			if again == 0 { // rounds go on beneath, and connections read into what they free
				time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
			}
		}
		done()
		next += redoubt.LSN(len(ws))
	}
	t.Logf("%d records from memory, %d from the journal", hot, cold)
}

// What is not in memory any more, and what is not there yet, has no answer;
// records of one LSN come together.
func TestRecentBounds(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil, 1<<20)
	defer r.close(t)
	write := func(n int) {
		t.Helper()
		for range n {
			if err := r.g.volumes[0].Write(make([]byte, 4096), 0, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(from redoubt.LSN, most, n int) {
		t.Helper()
		ws, done := r.g.Recent(nil, from, most)
		if len(ws) != n || (done == nil) != (n == 0) || n > 0 && ws[0].LSN != from {
			t.Errorf("from %d: %d records, want %d", from, len(ws), n)
		}
		if done != nil {
			done()
		}
	}
	round := func() {
		t.Helper()
		if err := r.g.round(); err != nil {
			t.Fatal(err)
		}
	}
	want(1, 1, 0) // the first question: from now on
	write(10)
	want(1, 1<<20, 10)
	want(3, 1, 1)
	want(3, 4097+recordCost, 2)
	want(11, 1, 0)
	round()
	want(10, 1<<20, 0)
	write(2)
	want(11, 1<<20, 2)
	if err := r.g.Replicate(1, []redoubt.Write{
		{LSN: 13, Kind: redoubt.KindCopy, Disk: 1, Extent: redoubt.Extent{Len: 512}, Data: make([]byte, 512), CRC: redoubt.Checksum(make([]byte, 512))},
		{LSN: 13, Kind: redoubt.KindCopy, Disk: 1, Extent: redoubt.Extent{Off: 512, Len: 512}, Data: make([]byte, 512), CRC: redoubt.Checksum(make([]byte, 512))},
	}); err != nil {
		t.Fatal(err)
	}
	want(13, 1, 2)
	if err := r.g.Reset(t.Context(), redoubt.Position{Epoch: 2, LSN: 100}); err != nil {
		t.Fatal(err)
	}
	want(13, 1, 0)
	want(101, 1, 0)
	write(1)
	want(101, 1, 1)
	round()
	write(1)
	round() // nobody has asked since the last one
	write(1)
	want(103, 1, 0)
	write(1)
	want(104, 1, 1)
	r.g.mu.Lock()
	r.g.recent.freeze()
	r.g.recent.on = false
	r.g.mu.Unlock()
	write(1)
	want(104, 1<<20, 1)
	write(1) // 105 is missing between
	want(104, 1<<20, 1)
	want(106, 1<<20, 1)
}

// Records without data count, too: however many wait, one answer is short.
func TestRecentTrims(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil, 1<<20)
	defer r.close(t)
	r.g.Recent(nil, 1, 1)
	ws := make([]redoubt.Write, 5000)
	for i := range ws {
		ws[i] = redoubt.Write{LSN: redoubt.LSN(i + 1), Kind: redoubt.KindTrim, Disk: 1, Extent: redoubt.Extent{Len: 4096}}
	}
	if err := r.g.Replicate(1, ws); err != nil {
		t.Fatal(err)
	}
	got, done := r.g.Recent(nil, 1, 64<<10)
	if done == nil || len(got) == 0 || len(got) > 1000 {
		t.Fatalf("%d of %d trims came at once", len(got), len(ws))
	}
	done()
}
