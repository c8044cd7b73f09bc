package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// TestExperiment compares the runs of this package with Badger in managed mode
// (LSN as version), for the numbers in target/DESIGN.md:
//
//	REDOUBT_EXPERIMENT=10000000 go test ./target/index -run TestExperiment -v -timeout 1h
//
// Every write is 4 KiB at a multiple of 4 KiB, which suits Badger best: it finds
// a key exactly and never has to split an extent.
func TestExperiment(t *testing.T) {
	extents, _ := strconv.Atoi(os.Getenv("REDOUBT_EXPERIMENT"))
	if extents == 0 {
		t.Skip("set REDOUBT_EXPERIMENT to a number of extents")
	}
	const perSegment = 1000
	g := &generated{per: perSegment, blocks: uint64(extents) * 2}
	segments := uint64(extents / perSegment)
	for _, fan := range []int{1, 2} {
		t.Run(fmt.Sprintf("runs-fan-%d", 1<<fan), func(t *testing.T) { experimentRuns(t, g, segments, fan) })
	}
	t.Run("badger", func(t *testing.T) { experimentBadger(t, g, segments) })
}

// generated makes the entries of a segment from its number.
type generated struct {
	per    int
	blocks uint64 // of the disk
}

func (g *generated) Entries(_ context.Context, _ Series, ordinal uint64) ([]Entry, error) {
	rng := rand.New(rand.NewPCG(ordinal, 7))
	es := make([]Entry, g.per)
	for i := range es {
		es[i] = Entry{LSN: redoubt.LSN(ordinal*uint64(g.per) + uint64(i) + 1), Disk: 1, Extent: redoubt.Extent{Off: rng.Uint64N(g.blocks) * 4096, Len: 4096},
			Block: uint32(i / 16), BlockOff: uint32(i%16) * 4096, CRC: rng.Uint32()}
	}
	return es, nil
}

func experimentRuns(t *testing.T, g *generated, segments uint64, fan int) {
	dir := t.TempDir()
	o := Options{FS: vfs.OS, Heads: g, FanBits: fan, CacheBytes: 64 << 20}
	x, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s := Series{"g", "u", 1}
	start := time.Now()
	x.Add(s, segments)
	if err := x.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("merged in %.1f s; %d runs, %.1f MiB of blocks, %.1f bytes per extent written", time.Since(start).Seconds(), x.Stats().Runs,
		float64(x.Stats().Bytes)/(1<<20), float64(x.Stats().Bytes)/float64(segments*uint64(g.per)))
	x.Close()
	start = time.Now()
	if x, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	t.Logf("reopened in %.0f ms; %d MiB on disk, heap %d MiB", ms(start), diskUsage(t, dir), heapMiB())
	ctx := context.Background()
	rng := rand.New(rand.NewPCG(1, 1))
	var opens, cold, warm []time.Duration
	for range 200 {
		lsn := 1 + rng.Uint64N(segments*uint64(g.per))
		start := time.Now()
		p, err := x.Prefix(ctx, []Span{{Series: s, Full: (lsn - 1) / uint64(g.per), Partial: true, Upto: redoubt.LSN(lsn)}})
		if err != nil {
			t.Fatal(err)
		}
		opens = append(opens, time.Since(start))
		for i := range 20 {
			e := redoubt.Extent{Off: rng.Uint64N(g.blocks) * 4096, Len: 4096}
			start := time.Now()
			if _, err := p.Lookup(ctx, 1, e); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				cold = append(cold, time.Since(start))
			} else {
				warm = append(warm, time.Since(start))
			}
		}
	}
	report(t, "open a point", opens)
	report(t, "first lookup at it", cold)
	report(t, "later lookups", warm)
	t.Logf("heap %d MiB, cache %+v", heapMiB(), x.Stats().Cache)
}

func experimentBadger(t *testing.T, g *generated, segments uint64) {
	dir := t.TempDir()
	o := badger.DefaultOptions(dir).WithLogger(nil).WithNumVersionsToKeep(math.MaxInt).WithBlockCacheSize(64 << 20).
		WithIndexCacheSize(64 << 20).WithCompression(options.None).WithDetectConflicts(false)
	db, err := badger.OpenManaged(o)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for ordinal := range segments {
		es, _ := g.Entries(context.Background(), Series{}, ordinal)
		wb := db.NewManagedWriteBatch()
		for i := range es {
			e := &es[i]
			v := binary.BigEndian.AppendUint64(nil, ordinal)
			for _, n := range []uint32{e.Block, e.BlockOff, uint32(e.Extent.Len), e.CRC} {
				v = binary.BigEndian.AppendUint32(v, n)
			}
			if err := wb.SetEntryAt(badger.NewEntry(badgerKey(e.Extent.Off), v), uint64(e.LSN)); err != nil {
				t.Fatal(err)
			}
		}
		if err := wb.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("written in %.1f s", time.Since(start).Seconds())
	start = time.Now()
	if err := db.Flatten(2); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("flattened and closed in %.1f s", time.Since(start).Seconds())
	start = time.Now()
	if db, err = badger.OpenManaged(o); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	t.Logf("reopened in %.0f ms; %d MiB on disk, heap %d MiB", ms(start), diskUsage(t, dir), heapMiB())
	rng := rand.New(rand.NewPCG(1, 1))
	var cold, warm []time.Duration
	for range 200 {
		lsn := 1 + rng.Uint64N(segments*uint64(g.per))
		txn := db.NewTransactionAt(lsn, false)
		for i := range 20 {
			key := badgerKey(rng.Uint64N(g.blocks) * 4096)
			start := time.Now()
			if it, err := txn.Get(key); err == nil {
				_, err = it.ValueCopy(nil)
				if err != nil {
					t.Fatal(err)
				}
			} else if err != badger.ErrKeyNotFound {
				t.Fatal(err)
			}
			if i == 0 {
				cold = append(cold, time.Since(start))
			} else {
				warm = append(warm, time.Since(start))
			}
		}
		txn.Discard()
	}
	report(t, "first lookup at a point", cold)
	report(t, "later lookups", warm)
	t.Logf("heap %d MiB", heapMiB())
}

func badgerKey(off uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{0, 1}, off)
}

func report(t *testing.T, what string, ds []time.Duration) {
	slices.Sort(ds)
	t.Logf("%s: p50 %v, p99 %v, max %v", what, ds[len(ds)/2], ds[len(ds)*99/100], ds[len(ds)-1])
}

func ms(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

func heapMiB() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc >> 20
}

// diskUsage is the space that the files take, in MiB.
func diskUsage(t *testing.T, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if i, ierr := d.Info(); ierr == nil {
				n += i.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n >> 20
}
