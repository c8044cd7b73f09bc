package ship

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Block returns the raw bytes of block i, after checking them. They may be part
// of the encoding: the caller must not change them.
func (d *Delta) Block(i int) ([]byte, error) {
	if i < 0 || i >= len(d.blocks) {
		return nil, &redoubt.Error{Op: "read block", Err: fmt.Errorf("block %d of %d: %w", i, len(d.blocks), redoubt.ErrInvalid)}
	}
	comp, err := d.stored(i)
	if err != nil {
		return nil, err
	}
	return InflateBlock(d.blocks[i], comp, nil)
}

func (d *Delta) stored(i int) ([]byte, error) {
	r := d.blocks[i]
	if uint64(len(d.raw)) < uint64(r.Off)+uint64(r.Len) {
		return nil, &redoubt.Error{Op: "read block", Err: fmt.Errorf("only the head is here: %w", redoubt.ErrInvalid)}
	}
	return d.raw[r.Off : r.Off+r.Len], nil
}

// VerifyBlocks checks the stored bytes of all blocks, without inflating them.
func (d *Delta) VerifyBlocks() error {
	for i, r := range d.blocks {
		comp, err := d.stored(i)
		if err != nil {
			return err
		}
		if redoubt.Checksum(comp) != r.CRC {
			return corrupt("checksum of block %d", i)
		}
	}
	return nil
}

// verifySum checks all blocks at once: sum is the checksum of the whole
// encoding as it was read. The head has its own; so if the checksums that
// the directory has of the blocks make sum, the blocks are right, as surely as
// by looking at each, and no byte is read again.
func (d *Delta) verifySum(sum uint32) error {
	if directorySum(d.raw[:d.headLen], d.blocks) != sum {
		if err := d.VerifyBlocks(); err != nil {
			return err
		}
		return corrupt("checksum of the blocks")
	}
	d.sum, d.summed = sum, true
	return nil
}

// directorySum returns the checksum of an encoding from its head and what that
// says of the blocks.
func directorySum(head []byte, blocks []BlockRef) uint32 {
	sum := redoubt.Checksum(head)
	for _, r := range blocks {
		sum = redoubt.ChecksumJoin(sum, r.CRC, int64(r.Len))
	}
	return sum
}

// VerifyAll inflates all blocks and checks the data of every entry against the
// checksum made where it entered Redoubt.
func (d *Delta) VerifyAll() error { return d.Each(func(*Entry, []byte) error { return nil }) }

// Each calls fn for every entry in order with its data, which was checked; data
// is nil without, and valid only during the call. Entries that follow one
// another in a block inflate it once.
func (d *Delta) Each(fn func(e *Entry, data []byte) error) error {
	block, have := []byte(nil), NoBlock
	for i := range d.Entries {
		e := &d.Entries[i]
		var data []byte
		if e.HasData() {
			if e.Block != have {
				b, err := d.Block(int(e.Block))
				if err != nil {
					return err
				}
				block, have = b, e.Block
			}
			data = block[e.BlockOff : e.BlockOff+e.DataLen]
			if redoubt.Checksum(data) != e.CRC {
				return corrupt("checksum of entry %d, LSN %d", i, e.LSN)
			}
		}
		if err := fn(e, data); err != nil {
			return err
		}
	}
	return nil
}

// Writes returns the entries as writes, with data of their own, checked.
func (d *Delta) Writes() ([]redoubt.Write, error) {
	out := make([]redoubt.Write, 0, len(d.Entries))
	err := d.Each(func(e *Entry, data []byte) error {
		w := redoubt.Write{LSN: e.LSN, Time: e.Time, Disk: e.Disk, Kind: e.Kind, Extent: e.Extent, CRC: e.CRC}
		if data != nil {
			w.Data = append([]byte(nil), data...)
		}
		out = append(out, w)
		return nil
	})
	return out, err
}

// Position returns the place in history that the delta leads to.
func (d *Delta) Position() redoubt.Position { return redoubt.Position{Epoch: d.Epoch, LSN: d.Last} }
