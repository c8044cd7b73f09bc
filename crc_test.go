package redoubt_test

import (
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func TestChecksumJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 300<<10)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	cuts := []int{0, 1, 7, 511, 512, 4096, 65535, 65536, 65537, 262144, len(b) - 1, len(b)}
	for range 200 {
		cuts = append(cuts, r.IntN(len(b)+1))
	}
	for _, n := range cuts {
		end := n + r.IntN(len(b)-n+1)
		x, y := redoubt.Checksum(b[:n]), redoubt.Checksum(b[n:end])
		want := redoubt.Checksum(b[:end])
		if got := redoubt.ChecksumJoin(x, y, int64(end-n)); got != want {
			t.Fatalf("%d and %d bytes: %08x instead of %08x", n, end-n, got, want)
		}
		bit := uint32(1) << r.IntN(32)
		if end > n && (redoubt.ChecksumJoin(x^bit, y, int64(end-n)) == want || redoubt.ChecksumJoin(x, y^bit, int64(end-n)) == want) {
			t.Fatal("a wrong part is not noticed")
		}
	}
}

func BenchmarkChecksumJoin(b *testing.B) {
	for i := range b.N {
		redoubt.ChecksumJoin(uint32(i), uint32(i), 262144+int64(i)%4096)
	}
}
