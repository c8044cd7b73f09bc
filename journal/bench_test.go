package journal

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

func benchJournal(b *testing.B, fs vfs.FS) *Journal {
	j, err := Open(filepath.Join(b.TempDir(), "j"), Options{FS: fs, Create: true, MaxBytes: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { j.Close() })
	return j
}

func bench4K(n int) []redoubt.Write {
	ws := make([]redoubt.Write, n)
	data := make([]byte, 4096)
	for i := range ws {
		ws[i] = redoubt.Write{Kind: redoubt.KindWrite, Disk: 1, Extent: redoubt.Extent{Off: uint64(i) * 8192, Len: 4096}, Data: data, CRC: redoubt.Checksum(data)}
	}
	return ws
}

func benchAppend(b *testing.B, batch int, sync bool) {
	j := benchJournal(b, vfs.OS)
	ws := bench4K(batch)
	b.SetBytes(int64(4096 * batch))
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Append(ws); err != nil {
			b.Fatal(err)
		}
		last := ws[batch-1].LSN
		if sync {
			if err := j.Sync(ctx, last); err != nil {
				b.Fatal(err)
			}
		}
		if last%4096 < redoubt.LSN(batch) {
			if err := j.SetApplied(last); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAppend4K(b *testing.B)        { benchAppend(b, 1, false) }
func BenchmarkAppend4Kx16(b *testing.B)     { benchAppend(b, 16, false) }
func BenchmarkAppendSync4K(b *testing.B)    { benchAppend(b, 1, true) }
func BenchmarkAppendSync4Kx16(b *testing.B) { benchAppend(b, 16, true) }

// An append allocates nothing, however many records it has.
func TestAppendAllocates(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "j"), Options{Create: true, MaxBytes: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ws := bench4K(32)
	if err := j.Append(ws); err != nil { // brings the buffers to size
		t.Fatal(err)
	}
	n := testing.AllocsPerRun(50, func() {
		if err := j.Append(ws); err != nil {
			t.Fatal(err)
		}
	})
	if n > 3 {
		t.Fatalf("%.1f allocations for an append of 32 records", n)
	}
}

// Opening after a kill: a full window of 4 KiB records, with and without the index.
func BenchmarkOpen(b *testing.B) {
	for _, keep := range []bool{true, false} {
		b.Run(map[bool]string{true: "index", false: "noindex"}[keep], func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "j")
			j, err := Open(dir, Options{Create: true, MaxBytes: 512 << 20, SegmentSize: 64 << 20})
			if err != nil {
				b.Fatal(err)
			}
			ws := bench4K(1)
			for range 25000 {
				if err := j.Append(ws); err != nil {
					b.Fatal(err)
				}
			}
			if err := j.Sync(ctx, ws[0].LSN); err != nil {
				b.Fatal(err)
			}
			j.checkpoint()
			if err := j.Close(); err != nil {
				b.Fatal(err)
			}
			o := Options{MaxBytes: 512 << 20}
			if !keep {
				o.index = func() (index, error) { return &memIndex{}, nil }
			}
			for b.Loop() {
				j, err := Open(dir, o)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := j.updateFacts("test", func(*facts) error { return nil }); err != nil { // not clean
					b.Fatal(err)
				}
				close(j.stop)
				<-j.done
				if err := j.release(); err != nil { // as a kill does
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkGiveUp gives up a journal of 64 MiB of 4 KiB records, as they come
// one in a batch, over a disk of which other blocks are dirty already.
func BenchmarkGiveUp(b *testing.B) {
	for _, random := range []bool{true, false} {
		b.Run(map[bool]string{true: "random", false: "in-a-row"}[random], func(b *testing.B) {
			j, err := Open(b.TempDir(), Options{Create: true, Start: redoubt.Position{Epoch: 1}, MaxBytes: 1 << 30})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			cur, err := j.Cursor("ship", 0)
			if err != nil {
				b.Fatal(err)
			}
			rng, data := rand.New(rand.NewPCG(1, 1)), make([]byte, 4096)
			sum, block := redoubt.Checksum(data), uint64(0)
			for b.Loop() {
				b.StopTimer()
				for range 8192 {
					if block++; random {
						block = rng.Uint64N(1 << 28) // 1 TiB
					}
					w := []redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: block << 12, Len: 4096}, Data: data, CRC: sum}}
					if err := j.Append(w); err != nil {
						b.Fatal(err)
					}
				}
				head := j.Head().LSN
				if err := j.SetApplied(head); err != nil {
					b.Fatal(err)
				}
				if err := j.Sync(ctx, head); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := cur.GiveUp(head); err != nil {
					b.Fatal(err)
				}
			}
			gap, _ := j.Gap()
			b.ReportMetric(float64(j.gap.file.end)/float64(gap.Dirty/DirtyBlock), "file-B/block")
		})
	}
}

// BenchmarkDirtyMemory is the memory of a map of 1 TiB with so many blocks dirty.
func BenchmarkDirtyMemory(b *testing.B) {
	for _, part := range []float64{0.001, 0.01, 0.1, 1} {
		b.Run(fmt.Sprint(part), func(b *testing.B) {
			rng, m := rand.New(rand.NewPCG(1, 1)), blockMap{}
			const blocks = 1 << 28
			for b.Loop() {
				m = blockMap{}
				x := m.disk(1)
				if part == 1 {
					x.AddRange(0, blocks)
					continue
				}
				some := make([]uint32, 0, 1<<16)
				for left := int(part * blocks); left > 0; left -= len(some) {
					some = some[:0]
					for range min(left, 1<<16) {
						some = append(some, uint32(rng.Uint64N(blocks)))
					}
					slices.Sort(some)
					x.AddMany(some)
				}
			}
			b.ReportMetric(float64(m[1].GetSizeInBytes())/(1<<20), "MiB/TiB")
		})
	}
}
