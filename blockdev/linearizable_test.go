package blockdev

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// shredder is a Backing that tears what is read while it is written, and that
// cannot always tell at once.
type shredder struct {
	*memBacking
	tries atomic.Uint32
}

func shred(n int, f func(from, to int)) {
	for i := 0; i < n; i += 16 {
		f(i, min(i+16, n))
		runtime.Gosched()
	}
}

func (s *shredder) ReadAt(p []byte, off uint64) error {
	shred(len(p), func(a, b int) { s.memBacking.ReadAt(p[a:b], off+uint64(a)) }) // never fails
	return nil
}

func (s *shredder) TryReadAt(p []byte, off uint64) bool {
	return s.tries.Add(1)%3 == 0 && s.ReadAt(p, off) == nil
}

func (s *shredder) WriteAt(p []byte, off uint64) (err error) {
	shred(len(p), func(a, b int) {
		if err == nil {
			err = s.memBacking.WriteAt(p[a:b], off+uint64(a))
		}
	})
	return err
}

func (s *shredder) Zero(e redoubt.Extent, _ bool) error { return s.WriteAt(make([]byte, e.Len), e.Off) }

// TestLinearizable lets several clients read, write and zero the same few
// sectors over several connections each, closes or kills the group under them
// and goes on with what is found then. The whole history must be linearizable
// for each sector (S4).
func TestLinearizable(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 6
	}
	rng := seeded.Rand(t)
	r := &rig{fs: vfs.NewMem(), o: GroupOptions{ApplyInterval: 20 * time.Microsecond, SyncInterval: time.Millisecond},
		wrap: func(b *memBacking) Backing { return &shredder{memBacking: b} }}
	for range historyDisks {
		r.disks = append(r.disks, newMemBacking(64<<10, nil))
	}
	r.open(t)
	h := &chronicle{began: time.Now(), kinds: map[uint16]int{}}
	kills, total, unsure := 0, 0, 0
	for round := range rounds {
		kill := rng.IntN(2) == 0
		if kill {
			kills++
		}
		found := h.round(t, r, rng, round, kill)
		for _, o := range h.ops {
			if o.Input.(sectorOp).unsure {
				unsure++
			}
		}
		total += len(h.ops)
		if len(h.broken) > 0 {
			t.Fatalf("round %d: %d torn reads: %s", round, len(h.broken), h.broken[0])
		}
		if got := judgeHistory(t, h.ops, true); got != porcupine.Ok {
			t.Fatalf("round %d, killed %v: the history is not linearizable: %s", round, kill, got)
		}
		h.ops = found // with what the next round begins
	}
	r.close(t)
	t.Logf("%d rounds, %d kills, %d operations on sectors, %d writes without an answer; requests by type %v", rounds, kills, total, unsure, h.kinds)
	for _, typ := range []uint16{cmdRead, cmdWrite, cmdFlush, cmdTrim, cmdWriteZeroes} {
		if h.kinds[typ] == 0 {
			t.Errorf("no request of type %d: the test does not test", typ)
		}
	}
}

// round serves the group to six connections and ends it under them. What is
// found after that ends the history of the round; it is returned as the writes
// with which the next one begins. So each round is judged by itself: the search
// for an order takes long in a long history that has none.
func (h *chronicle) round(t *testing.T, r *rig, rng *rand.Rand, round int, kill bool) (found []porcupine.Operation) {
	t.Helper()
	s := NewServer(ServerOptions{SlowReads: 2})
	for _, v := range r.g.Volumes() {
		if err := s.Add(Export{Name: v.Disk().Name, Volume: v}); err != nil {
			t.Fatal(err)
		}
	}
	sock := filepath.Join(t.TempDir(), "s")
	l, err := ListenUnix(sock)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	h.enough, h.limit = make(chan struct{}), h.count.Load()+int64(200+rng.IntN(200))
	var wg sync.WaitGroup
	for i := range 6 {
		c, err := newCaller(sock, fmt.Sprintf("d%d", 1+i%historyDisks), i%3 == 0)
		if err != nil {
			t.Fatal(err)
		}
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		wg.Go(func() {
			defer c.nc.Close()
			h.use(c, round*6+i, i%historyDisks, own)
		})
	}
	select {
	case <-h.enough:
	case <-time.After(time.Minute):
		t.Error("no progress for a minute")
	}
	if kill {
		r.kill()
	}
	s.Close()
	wg.Wait()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if !kill {
		r.close(t)
	}
	h.settle()
	r.open(t)
	for i, v := range r.g.Volumes() {
		at := h.now()
		p := content(t, v)
		for s := range historySectors {
			op, end := sectorOp{disk: i, sector: s}, h.now()
			value := binary.BigEndian.Uint64(p[s*redoubt.SectorSize:])
			h.ops = append(h.ops, porcupine.Operation{Input: op, Call: at, Return: end, Output: value})
			op.write, op.value = true, value
			found = append(found, porcupine.Operation{Input: op, Call: at, Return: end})
		}
	}
	return found
}
