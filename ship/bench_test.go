package ship

import (
	gobuild "go/build"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// sourceTree returns up to most bytes of the Go source tree, as a sample of
// real files.
func sourceTree(b *testing.B, most int) []byte {
	var out []byte
	_ = filepath.WalkDir(filepath.Join(gobuild.Default.GOROOT, "src"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && len(out) < most {
			if c, err := os.ReadFile(p); err == nil {
				out = append(out, c...)
			}
		}
		return nil
	})
	if len(out) < most {
		b.Skip("no Go source tree to measure with")
	}
	return out[:most]
}

// BenchmarkBuild builds deltas of 4 MiB in 4 KiB writes; it reports the ratio and
// the time to inflate one block.
func BenchmarkBuild(b *testing.B) {
	data := sourceTree(b, 16<<20)
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		b.Run(codec.String(), func(b *testing.B) {
			c := NewCompressor(codec)
			b.SetBytes(int64(len(data)))
			var raw, wire, blocks int
			var inflate time.Duration
			for b.Loop() {
				for at := 0; at < len(data); at += 4 << 20 {
					bl := NewBuilder("g", 1, c)
					for i := range 1024 {
						p := data[at+i*4096 : at+(i+1)*4096]
						w := redoubt.Write{LSN: redoubt.LSN(i + 1), Time: 1, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(i) * 4096, Len: 4096}, CRC: redoubt.Checksum(p), Data: p}
						if err := bl.Add(&w); err != nil {
							b.Fatal(err)
						}
					}
					d, err := bl.Finish()
					if err != nil {
						b.Fatal(err)
					}
					raw, wire = raw+d.RawLen(), wire+d.Size()
					b.StopTimer()
					begin := time.Now()
					for i := range d.Blocks() {
						if _, err := d.Block(i); err != nil {
							b.Fatal(err)
						}
					}
					inflate, blocks = inflate+time.Since(begin), blocks+len(d.Blocks())
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(raw)/float64(wire), "ratio")
			b.ReportMetric(float64(inflate.Microseconds())/float64(blocks), "µs/inflate")
		})
	}
}
