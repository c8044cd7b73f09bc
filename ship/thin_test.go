package ship

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// Two entries whose data is stored once: when one goes the other keeps it, and
// when both go nothing of it is left.
func TestThinKeepsSharedData(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	page := func() []byte {
		b := make([]byte, 4096)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	shared, other := page(), page()
	b := NewBuilder("g", 1, NewCompressor(CodecZstd))
	for i, data := range [][]byte{shared, other, shared} {
		n := redoubt.LSN(i + 1)
		w := redoubt.Write{LSN: n, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(n) * 4096, Len: 4096}, Data: data, CRC: redoubt.Checksum(data)}
		if err := b.Add(&w); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep []redoubt.LSN
		most int
	}{{[]redoubt.LSN{3}, 4096 + 1024}, {[]redoubt.LSN{1, 2}, 2*4096 + 1024}, {[]redoubt.LSN{2}, 4096 + 1024}} {
		live := map[redoubt.LSN]bool{}
		for _, l := range c.keep {
			live[l] = true
		}
		thin, err := d.Thin(func(i int) bool { return live[d.Entries[i].LSN] }, NewCompressor(CodecZstd))
		if err != nil {
			t.Fatal(err)
		}
		if thin, err = Parse(thin.Encoded()); err != nil {
			t.Fatal(err)
		}
		if thin.Size() > c.most {
			t.Errorf("%v: %d bytes are left", c.keep, thin.Size())
		}
		n := 0
		if err := thin.Each(func(e *Entry, data []byte) error {
			want := shared
			if e.LSN == 2 {
				want = other
			}
			if !live[e.LSN] || !bytes.Equal(data, want) {
				t.Errorf("%v: entry %d is wrong", c.keep, e.LSN)
			}
			n++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n != len(c.keep) {
			t.Errorf("%v: %d entries", c.keep, n)
		}
	}
}
