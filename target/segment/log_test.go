package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

const dir = "/data/shards"

func open(t *testing.T, fs vfs.FS) *Log {
	t.Helper()
	l, err := Open(dir, Options{FS: fs, FileSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func newFS(t *testing.T) *vfs.Mem {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fs.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return fs
}

func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func shard(rng *rand.Rand, group string, ordinal uint64) *Shard {
	s := &Shard{ID: ID{Group: redoubt.GroupID(group), UUID: "uuid-" + group, Epoch: 1, Ordinal: ordinal, Shard: uint8(rng.IntN(3)), CRC: rng.Uint32()},
		K: 2, M: 1, Head: random(rng, rng.IntN(3000)), Data: random(rng, rng.IntN(200<<10))}
	s.Size = uint32(2 * len(s.Data))
	return s
}

func put(t *testing.T, l *Log, s *Shard) {
	t.Helper()
	if err := l.Put(context.Background(), s); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, l *Log, id ID) bool {
	t.Helper()
	ok, err := l.Has(id)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

func check(t *testing.T, l *Log, s *Shard, rng *rand.Rand) {
	t.Helper()
	h, err := l.ReadHead(s.ID)
	if err != nil || !bytes.Equal(h, s.Head) {
		t.Fatalf("head of %v: %v", s.ID, err)
	}
	for range 3 {
		if len(s.Data) == 0 {
			break
		}
		off := rng.IntN(len(s.Data))
		n := 1 + rng.IntN(len(s.Data)-off)
		b, err := l.ReadRange(s.ID, uint32(off), uint32(n))
		if err != nil || !bytes.Equal(b, s.Data[off:off+n]) {
			t.Fatalf("range %d+%d of %v: %v", off, n, s.ID, err)
		}
	}
}

func TestPutReadReopen(t *testing.T) {
	rng := seeded.Rand(t)
	fs := newFS(t)
	l := open(t, fs)
	var all []*Shard
	for i := range 60 {
		s := shard(rng, fmt.Sprintf("g%d", i%3), uint64(i))
		put(t, l, s)
		put(t, l, s) // again: nothing changes
		all = append(all, s)
	}
	if st := l.Stats(); st.Puts != 60 || st.Files < 4 {
		t.Fatalf("%+v", st)
	}
	other := *all[0]
	other.Head = append([]byte("x"), other.Head...)
	if err := l.Put(context.Background(), &other); !errors.Is(err, redoubt.ErrExists) {
		t.Fatalf("another content under the same id: %v", err)
	}
	if err := l.Delete(context.Background(), all[7].ID, all[50].ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i, s := range all {
			if i == 7 || i == 50 {
				if _, err := l.ReadRange(s.ID, 0, 0); !errors.Is(err, redoubt.ErrNotFound) {
					t.Fatalf("deleted shard: %v", err)
				}
				continue
			}
			check(t, l, s, rng)
		}
		l.Close()
		rep, err := Verify(fs, dir)
		if err != nil || len(rep.Damage) > 0 || rep.Shards != 60 || rep.Deleted != 2 {
			t.Fatalf("%+v %v", rep, err)
		}
		l = open(t, fs)
	}
}

// gate is a file system on which, once shut, syncs wait until it is opened.
type gate struct {
	vfs.FS
	mu   sync.Mutex
	open chan struct{} // nil: not shut
	at   chan struct{} // tells that a sync waits
}

type gateFile struct {
	vfs.File
	g *gate
}

func (g *gate) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := g.FS.OpenFile(name, flag, perm)
	return &gateFile{f, g}, err
}

func (f *gateFile) Sync() error {
	f.g.mu.Lock()
	open := f.g.open
	f.g.mu.Unlock()
	if open != nil {
		select {
		case f.g.at <- struct{}{}:
		default:
		}
		<-open
	}
	return f.File.Sync()
}

// What arrives while a sync is under way shares the next one.
func TestGroupSync(t *testing.T) {
	rng := seeded.Rand(t)
	g := &gate{FS: newFS(t), at: make(chan struct{}, 1)}
	l := open(t, g)
	put(t, l, shard(rng, "g", 1000))
	g.mu.Lock()
	g.open = make(chan struct{})
	g.mu.Unlock()
	var rs []*request
	for i := range 200 {
		s := shard(rng, "g", uint64(i))
		s.Data, s.Size = s.Data[:len(s.Data)/50], 0
		r := &request{h: newHeader(s), head: s.Head, data: s.Data, err: make(chan error, 1)}
		l.queue <- r // holds all of them
		rs = append(rs, r)
	}
	<-g.at // in a sync; the others wait behind it
	close(g.open)
	for _, r := range rs {
		if err := <-r.err; err != nil {
			t.Fatal(err)
		}
	}
	st := l.Stats()
	t.Logf("%d puts, %d syncs", st.Puts, st.Syncs)
	if st.Puts != 201 || st.Syncs > 30 {
		t.Fatalf("%+v", st)
	}
}

// Whatever the power cut tears, acknowledged shards are there and right.
func TestCrash(t *testing.T) {
	rng := seeded.Rand(t)
	for range 20 {
		fs := newFS(t)
		var acked []*Shard
		ordinal := uint64(0)
		for range 3 {
			l, err := Open(dir, Options{FS: fs, FileSize: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if d := l.Damaged(); len(d) > 0 {
				t.Fatalf("a power cut is taken for damage: %v", d)
			}
			for _, s := range acked {
				check(t, l, s, rng)
			}
			var mu sync.Mutex
			var wg sync.WaitGroup
			stop := rng.IntN(20)
			acks := make(chan struct{}, 100)
			for range 25 {
				s := shard(rng, "g", ordinal)
				ordinal++
				wg.Add(1)
				go func() {
					defer wg.Done()
					if l.Put(context.Background(), s) == nil {
						mu.Lock()
						acked = append(acked, s)
						mu.Unlock()
						acks <- struct{}{}
					}
				}()
			}
			for range stop {
				<-acks
			}
			next := fs.Crash(rand.New(rand.NewPCG(rng.Uint64(), 3)))
			wg.Wait()
			l.Close()
			fs = next
		}
		l := open(t, fs)
		for _, s := range acked {
			check(t, l, s, rng)
		}
	}
}

// A flipped byte anywhere is never served, and the other shards stay.
func TestFlippedByte(t *testing.T) {
	rng := seeded.Rand(t)
	for _, sealed := range []bool{true, false} {
		for range 30 {
			fs := newFS(t)
			l := open(t, fs)
			var all []*Shard
			for i := range 6 {
				s := shard(rng, "g", uint64(i))
				s.Data = s.Data[:len(s.Data)/8]
				put(t, l, s)
				all = append(all, s)
			}
			last, err := l.Info(all[5].ID)
			if err != nil {
				t.Fatal(err)
			}
			if sealed {
				l.Close()
			} else {
				fs = fs.Clone(rand.New(rand.NewPCG(rng.Uint64(), 1)))
			}
			es, _ := fs.ReadDir(dir)
			f, err := fs.OpenFile(filepath.Join(dir, es[0].Name()), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := sector + rng.Int64N(last.Offset-sector) // below the watermark
			b := make([]byte, 1)
			f.ReadAt(b, at)
			b[0] ^= byte(1 << rng.IntN(8))
			f.WriteAt(b, at)
			f.Sync()
			l2 := open(t, fs)
			lost := 0
			for i, s := range all {
				for off := 0; off < len(s.Data); off += 1 << 15 {
					n := min(1<<15, len(s.Data)-off)
					got, err := l2.ReadRange(s.ID, uint32(off), uint32(n))
					if err == nil && !bytes.Equal(got, s.Data[off:off+n]) {
						t.Fatalf("wrong bytes served from shard %d", i)
					}
				}
				if h, err := l2.ReadHead(s.ID); err == nil && !bytes.Equal(h, s.Head) {
					t.Fatalf("wrong head served from shard %d", i)
				}
				if l2.Check(s.ID) != nil {
					lost++
					l2.Forget(s.ID)
					put(t, l2, s)
					check(t, l2, s, rng)
				}
			}
			if lost > 1 {
				t.Fatalf("one flipped byte at %d (sealed %v) cost %d shards", at, sealed, lost)
			}
			l2.Close()
		}
	}
}

func TestFailedSyncLatches(t *testing.T) {
	rng := seeded.Rand(t)
	fault := vfs.NewFault(newFS(t), 0, errors.New("no space left"))
	l := open(t, fault)
	a := shard(rng, "g", 1)
	put(t, l, a)
	fault.FailAt(fault.Count() + 2) // the sync
	if err := l.Put(context.Background(), shard(rng, "g", 2)); err == nil {
		t.Fatal("a failed sync was acknowledged")
	}
	if err := l.Put(context.Background(), shard(rng, "g", 3)); !errors.Is(err, redoubt.ErrFailed) {
		t.Fatalf("after a failed sync: %v", err)
	}
	check(t, l, a, rng)
}

func FuzzHeader(f *testing.F) {
	s := &Shard{ID: ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: 2, Shard: 1, CRC: 7}, K: 2, M: 1, Head: []byte("head"), Data: make([]byte, 70<<10)}
	f.Add(newHeader(s).encode())
	f.Add(newTombstone(s.ID).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		if !bytes.Equal(h.encode()[:fixedLen], b[:fixedLen]) {
			t.Fatal("another encoding of the same header")
		}
	})
}

// A full disk is not a broken one: when there is room again the log goes on.
func TestFullDiskDoesNotLatch(t *testing.T) {
	rng := seeded.Rand(t)
	fs := vfs.NewFault(newFS(t), 0, syscall.ENOSPC)
	l := open(t, fs)
	s := shard(rng, "g", 1)
	fs.FailAt(fs.Count() + 2) // the new file's name is made, its space is refused
	err := l.Put(t.Context(), s)
	if !errors.Is(err, syscall.ENOSPC) || redoubt.Hint(err) == "" {
		t.Fatalf("got %v, want ENOSPC with a hint", err)
	}
	if err := l.Err(); err != nil {
		t.Fatalf("latched: %v", err)
	}
	put(t, l, s)
	if !has(t, l, s.ID) {
		t.Error("the shard is not there")
	}
}
