package ship

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// Equal data is stored once, wherever in the delta it comes again, and reads
// back everywhere; data with the same checksum is not taken for it.
func TestSameDataIsStoredOnce(t *testing.T) {
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		rng := rand.New(rand.NewPCG(1, uint64(codec)))
		page := func(kind int) []byte {
			b := make([]byte, 4096)
			for i := range b {
				b[i] = byte(rng.Uint32()) & byte(0xff>>(4*kind))
			}
			return b
		}
		pool := [][]byte{page(0), page(1), page(0)}
		b := NewBuilder("g", 1, NewCompressor(codec))
		var want [][]byte
		put := func(data []byte) {
			n := redoubt.LSN(len(want) + 1)
			w := redoubt.Write{LSN: n, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(n) * 4096, Len: uint64(len(data))},
				Data: data, CRC: redoubt.Checksum(data)}
			if err := b.Add(&w); err != nil {
				t.Fatal(err)
			}
			want = append(want, data)
		}
		for i := range 200 {
			put(pool[i%len(pool)])
			if i%10 == 0 {
				put(page(0)) // closes blocks
			}
		}
		d, err := b.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if d, err = Parse(d.Encoded()); err != nil {
			t.Fatal(err)
		}
		i := 0
		if err := d.Each(func(_ *Entry, data []byte) error {
			if !bytes.Equal(data, want[i]) {
				t.Fatalf("%s: entry %d reads other data", codec, i)
			}
			i++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got, most := d.RawLen(), (20+len(pool))*4096; got != most {
			t.Fatalf("%s: %d bytes in blocks, %d differ", codec, got, most)
		}
		if b.RawLen() != len(want)*4096 {
			t.Fatalf("%s: the delta counts as %d bytes, %d were put", codec, b.RawLen(), len(want)*4096)
		}
	}
}

func TestSameChecksumIsNotSameData(t *testing.T) {
	b := NewBuilder("g", 1, NewCompressor(CodecS2))
	one, two := bytes.Repeat([]byte{1}, 4096), bytes.Repeat([]byte{2}, 4096)
	if err := b.Advance(1, 0); err != nil {
		t.Fatal(err)
	}
	for i, data := range [][]byte{one, two} { // with a checksum that they cannot share
		if err := b.Put(redoubt.KindWrite, 1, redoubt.Extent{Off: uint64(i) * 4096, Len: 4096}, data, 7); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := d.Block(0); err != nil || !bytes.Equal(raw, append(one, two...)) {
		t.Fatalf("data of equal checksums was joined (err %v)", err)
	}
}
