package ship

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Thin returns the delta without the entries for which live says no. LSNs,
// times, the numbers of blocks and the places of live data in their raw blocks
// stay as they are, so whoever remembers where an entry's data lies still finds
// it there. What is dead in a block becomes zeros, and the block is compressed
// again; a block without live data shrinks to one byte. Each entry whose block
// is written anew is checked against its own checksum first.
func (d *Delta) Thin(live func(i int) bool, c *Compressor) (*Delta, error) {
	out := &Delta{Group: d.Group, Epoch: d.Epoch, First: d.First, Last: d.Last, FirstTime: d.FirstTime, LastTime: d.LastTime, Baseline: d.Baseline,
		blocks: make([]BlockRef, len(d.blocks))}
	kept, dead := make([][]*Entry, len(d.blocks)), make([]bool, len(d.blocks))
	for i := range d.Entries {
		e := &d.Entries[i]
		if live(i) {
			out.Entries = append(out.Entries, *e)
		}
		if e.HasData() {
			if live(i) {
				kept[e.Block] = append(kept[e.Block], e)
			} else {
				dead[e.Block] = true
			}
		}
	}
	stored := make([][]byte, len(d.blocks))
	for i := range d.blocks {
		var err error
		if len(kept[i]) > 0 && !dead[i] {
			out.blocks[i] = d.blocks[i]
			stored[i], err = d.stored(i)
		} else {
			stored[i], err = d.thinBlock(i, kept[i], &out.blocks[i], c)
		}
		if err != nil {
			return nil, err
		}
	}
	out.headLen = headSize(len(out.Group), len(out.Entries), len(out.blocks))
	out.size = out.headLen
	for i := range out.blocks {
		out.blocks[i].Off = uint32(out.size)
		out.size += len(stored[i])
	}
	out.raw = appendHead(make([]byte, 0, out.size), out)
	for _, s := range stored {
		out.raw = append(out.raw, s...)
	}
	return out, nil
}

// thinBlock encodes block i with the data of the entries alone.
func (d *Delta) thinBlock(i int, kept []*Entry, ref *BlockRef, c *Compressor) ([]byte, error) {
	raw := []byte{0}
	if len(kept) > 0 {
		old, err := d.Block(i)
		if err != nil {
			return nil, err
		}
		end := uint32(0)
		for _, e := range kept {
			end = max(end, e.BlockOff+e.DataLen)
		}
		raw = make([]byte, end)
		for _, e := range kept {
			data := old[e.BlockOff : e.BlockOff+e.DataLen]
			if redoubt.Checksum(data) != e.CRC {
				return nil, &redoubt.Error{Op: "thin delta", Object: e.LSN.String(), Err: fmt.Errorf("checksum of the write: %w", redoubt.ErrCorrupt)}
			}
			copy(raw[e.BlockOff:], data)
		}
	}
	c.misses = 0 // the zeros make the block compressible, whatever came before
	b, codec, err := c.compress(nil, raw)
	if err != nil {
		return nil, err
	}
	*ref = BlockRef{Len: uint32(len(b)), RawLen: uint32(len(raw)), CRC: redoubt.Checksum(b), Codec: codec}
	return b, nil
}
