package view

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
)

// Neighbours are fetched together, strangers are not, and every block that is
// wanted is fetched once.
func TestStretchesJoinNeighbours(t *testing.T) {
	rng := seeded.Rand(t)
	b := ship.NewBuilder("shop", 1, ship.NewCompressor(ship.CodecNone))
	for l := redoubt.LSN(1); l <= 1200; l++ { // blocks of very different lengths
		w := redoubt.Write{LSN: l, Time: 1, Disk: 1, Kind: redoubt.KindWrite, Data: make([]byte, 512*(1+rng.IntN(64)))}
		for i := range w.Data {
			w.Data[i] = byte(rng.Uint32())
		}
		w.Extent = redoubt.Extent{Off: uint64(l) << 16, Len: uint64(len(w.Data))}
		w.CRC = redoubt.Checksum(w.Data)
		if err := b.Add(&w); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	refs := d.Blocks()
	if len(refs) < 32 {
		t.Fatalf("%d blocks show little", len(refs))
	}
	for _, one := range []int{1, 2, 8} { // all blocks, or one of so many
		var wanted []uint32
		for i := range uint32(len(refs)) {
			if rng.IntN(one) == 0 {
				wanted = append(wanted, i)
			}
		}
		var got []uint32
		all := joined(index.Series{}, catalog.Segment{}, d, wanted)
		for i, st := range all {
			got = append(got, st.blocks...)
			off, n := st.span()
			if n > stretchMax && len(st.blocks) > 1 {
				t.Errorf("a stretch of %d bytes", n)
			}
			for k := 1; k < len(st.blocks); k++ {
				if a, b := refs[st.blocks[k-1]], refs[st.blocks[k]]; b.Off-(a.Off+a.Len) > stretchGap {
					t.Errorf("%d bytes are read that nobody wants", b.Off-(a.Off+a.Len))
				}
			}
			if i+1 == len(all) {
				continue
			}
			next := refs[all[i+1].blocks[0]]
			if next.Off-(off+n) <= stretchGap && next.Off+next.Len-off <= stretchMax {
				t.Errorf("neighbours are not joined: %d+%d and %d+%d", off, n, next.Off, next.Len)
			}
		}
		if len(got) != len(wanted) {
			t.Fatalf("%d blocks in the stretches, %d are wanted", len(got), len(wanted))
		}
		for i := range got {
			if got[i] != wanted[i] {
				t.Fatalf("block %d instead of %d", got[i], wanted[i])
			}
		}
		if one == 1 && len(all) == len(wanted) {
			t.Fatalf("%d blocks in as many stretches: none were joined", len(all))
		}
	}
}
