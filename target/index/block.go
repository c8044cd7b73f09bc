package index

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// A block of a run:
//
//	+0  CRC32C 4   of the rest, bound to the file number and the block's place in the file
//	+4  length 4   of the whole block
//	+8  count 2 | kind 1 (0 leaf, 1 inner) | zero 1
//	+12 entries
//
// A leaf entry: flags 1, then as the flags say: disk, gap since the end of the
// entry before (or offset, for another disk), length, change of ordinal
// (zigzag), block, offset in the block, skip, length of the entry, CRC32C 4.
// An inner entry: disk, offset, place of the child in the run, its length.
// Numbers are uvarints where no width is given.
const (
	blockHeader = 12
	blockTarget = 4096 // a block is full when its entries reach this
	maxBlock    = 2 * blockTarget
	maxVarints  = 10*8 + 8 // bytes of the longest entry

	kindLeaf  = 0
	kindInner = 1

	flagZero       = 1 << 0
	flagWhole      = 1 << 1 // skip is 0 and the entry is as long as the piece
	flagDisk       = 1 << 2 // another disk than before
	flagSectors    = 1 << 3 // gap and length count sectors of 512 bytes
	flagSame       = 1 << 4 // ordinal as before
	flagOffSectors = 1 << 5 // the offset in the block counts sectors
)

// child points at a block of the next lower level.
type child struct {
	disk redoubt.DiskID
	off  uint64
	at   uint64 // in bytes from the start of the run
	len  uint32
}

// block is a decoded block.
type block struct {
	leaf  []flat
	inner []child
}

func (b *block) size() int64 { return int64(64 + 64*len(b.leaf) + 32*len(b.inner)) }

// blockBuilder collects entries of one block.
type blockBuilder struct {
	kind  uint8
	count int
	buf   []byte
	first child // key of the first entry
	prev  flat
}

func (bb *blockBuilder) reset() { bb.count, bb.buf, bb.prev = 0, bb.buf[:0], flat{} }

func (bb *blockBuilder) full() bool { return len(bb.buf) >= blockTarget }

func (bb *blockBuilder) key(d redoubt.DiskID, off uint64) {
	if bb.count == 0 {
		bb.first = child{disk: d, off: off}
	}
	bb.count++
}

func (bb *blockBuilder) addLeaf(f *flat) {
	bb.key(f.disk, f.off)
	p := &bb.prev
	gap := f.off
	var flags byte
	if f.disk != p.disk || bb.count == 1 {
		flags |= flagDisk
	} else {
		gap = f.off - p.end()
	}
	length := f.len
	if (gap|length)%512 == 0 {
		flags |= flagSectors
		gap, length = gap/512, length/512
	}
	if f.zero {
		flags |= flagZero
	} else {
		if f.skip == 0 && uint64(f.elen) == f.len {
			flags |= flagWhole
		}
		if f.ordinal == p.ordinal {
			flags |= flagSame
		}
		if f.blockOff%512 == 0 {
			flags |= flagOffSectors
		}
	}
	b := append(bb.buf, flags)
	if flags&flagDisk != 0 {
		b = binary.AppendUvarint(b, uint64(f.disk))
	}
	b = binary.AppendUvarint(b, gap)
	b = binary.AppendUvarint(b, length)
	ordinal := p.ordinal
	if !f.zero {
		if flags&flagSame == 0 {
			b = binary.AppendVarint(b, int64(f.ordinal-p.ordinal))
		}
		ordinal = f.ordinal
		b = binary.AppendUvarint(b, uint64(f.block))
		if flags&flagOffSectors != 0 {
			b = binary.AppendUvarint(b, uint64(f.blockOff/512))
		} else {
			b = binary.AppendUvarint(b, uint64(f.blockOff))
		}
		if flags&flagWhole == 0 {
			b = binary.AppendUvarint(b, uint64(f.skip))
			b = binary.AppendUvarint(b, uint64(f.elen))
		}
		b = binary.LittleEndian.AppendUint32(b, f.crc)
	}
	bb.buf = b
	bb.prev = *f
	bb.prev.ordinal = ordinal
}

func (bb *blockBuilder) addInner(c child) {
	bb.key(c.disk, c.off)
	b := binary.AppendUvarint(bb.buf, uint64(c.disk))
	b = binary.AppendUvarint(b, c.off)
	b = binary.AppendUvarint(b, c.at)
	bb.buf = binary.AppendUvarint(b, uint64(c.len))
}

// encode appends the finished block, which will lie at place in file.
func (bb *blockBuilder) encode(dst []byte, file uint64, place int64) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(blockHeader+len(bb.buf)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(bb.count))
	dst = append(dst, bb.kind, 0)
	dst = append(dst, bb.buf...)
	binary.LittleEndian.PutUint32(dst[start:], blockSum(dst[start+4:], file, place))
	return dst
}

func blockSum(b []byte, file uint64, place int64) uint32 {
	var seed [16]byte
	binary.LittleEndian.PutUint64(seed[:], file)
	binary.LittleEndian.PutUint64(seed[8:], uint64(place))
	return redoubt.ChecksumUpdate(redoubt.Checksum(seed[:]), b)
}

// decodeBlock reads the block that lies at place in file.
func decodeBlock(b []byte, file uint64, place int64) (*block, error) {
	le := binary.LittleEndian
	if len(b) < blockHeader || uint64(le.Uint32(b[4:])) != uint64(len(b)) {
		return nil, corrupt("block length")
	}
	if le.Uint32(b) != blockSum(b[4:], file, place) {
		return nil, corrupt("block checksum")
	}
	count := int(le.Uint16(b[8:]))
	r := reader{b: b[blockHeader:]}
	out := &block{}
	if b[10] == kindInner {
		if count > len(r.b)/4 {
			return nil, corrupt("block count")
		}
		out.inner = make([]child, 0, count)
		for range count {
			out.inner = append(out.inner, child{disk: redoubt.DiskID(r.uvarint()), off: r.uvarint(), at: r.uvarint(), len: uint32(r.uvarint())})
		}
	} else {
		if count > len(r.b)/3 {
			return nil, corrupt("block count")
		}
		out.leaf = make([]flat, 0, count)
		var p flat
		for range count {
			p = r.leaf(p)
			out.leaf = append(out.leaf, p)
			if p.zero {
				out.leaf[len(out.leaf)-1].ordinal = 0
			}
		}
	}
	if r.bad || len(r.b) != 0 {
		return nil, corrupt("block entries")
	}
	return out, nil
}

// reader takes numbers off the front of b; bad latches.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// leaf reads the entry that follows p. A zero entry carries p's ordinal on.
func (r *reader) leaf(p flat) flat {
	if len(r.b) < 3 {
		r.bad, r.b = true, nil
		return flat{}
	}
	flags := r.b[0]
	r.b = r.b[1:]
	f := flat{disk: p.disk, zero: flags&flagZero != 0, ordinal: p.ordinal}
	if flags&flagDisk != 0 {
		f.disk = redoubt.DiskID(r.uvarint())
	}
	unit := uint64(1)
	if flags&flagSectors != 0 {
		unit = 512
	}
	f.off = r.uvarint() * unit
	if flags&flagDisk == 0 {
		f.off += p.end()
	}
	f.len = r.uvarint() * unit
	if f.zero {
		return f
	}
	if flags&flagSame == 0 {
		f.ordinal = p.ordinal + uint64(r.varint())
	}
	f.block = uint32(r.uvarint())
	f.blockOff = uint32(r.uvarint())
	if flags&flagOffSectors != 0 {
		f.blockOff *= 512
	}
	f.elen = uint32(f.len)
	if flags&flagWhole == 0 {
		f.skip, f.elen = uint32(r.uvarint()), uint32(r.uvarint())
	}
	if len(r.b) < 4 {
		r.bad, r.b = true, nil
		return flat{}
	}
	f.crc = binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return f
}

func corrupt(what string) error { return fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt) }
