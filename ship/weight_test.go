package ship

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A delta closes by what it stores: data that shrinks fills it with more raw
// bytes, up to rawMost times the limit, and data that does not with no more than the limit.
func TestWeight(t *testing.T) {
	const most, n = 1 << 20, 64 << 10
	random := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	for _, c := range []struct {
		name     string
		fill     func() []byte
		raw, out int // bytes, at least and at most
	}{
		{"incompressible", func() []byte { _, _ = rng.Read(random); return bytes.Clone(random) }, most - n, most},
		{"text", func() []byte {
			_, _ = rng.Read(random)
			return bytes.Repeat(random[:n/16], 16)
		}, rawMost*most - n, most / 2},
	} {
		b := NewBuilder("g", 1, NewCompressor(CodecS2))
		for lsn := redoubt.LSN(1); ; lsn++ {
			data := c.fill()
			w := redoubt.Write{LSN: lsn, Time: 1, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(lsn) * n, Len: n}, Data: data, CRC: redoubt.Checksum(data)}
			if full(b, &w, most) {
				break
			}
			if err := b.Add(&w); err != nil {
				t.Fatal(err)
			}
		}
		d, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if d.RawLen() < c.raw || d.RawLen() > rawMost*most || d.Size()-d.HeadLen() > c.out {
			t.Errorf("%s: %d raw bytes and %d stored, want at least %d and at most %d", c.name, d.RawLen(), d.Size()-d.HeadLen(), c.raw, c.out)
		}
	}
}
