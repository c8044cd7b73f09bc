package ship

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// blockTarget is the raw size in bytes at which a block is closed. Reading 4 KiB
// at the secondary inflates one block, so smaller than MaxBlock; larger writes
// still get a block to themselves. Numbers in DESIGN.md.
const blockTarget = 64 << 10

// Builder makes a Delta from writes. It is for one goroutine.
type Builder struct {
	d      Delta
	comp   *Compressor
	cur    []byte // raw bytes of the open block
	curSum uint32 // their checksum
	stored [][]byte
	rawLen int
	outLen int // stored bytes of the closed blocks
	same   same
	mem    memory
}

// NewBuilder begins a delta of group in epoch.
func NewBuilder(group redoubt.GroupID, epoch redoubt.Epoch, c *Compressor) *Builder {
	return &Builder{d: Delta{Group: group, Epoch: epoch}, comp: c}
}

// RawLen returns the bytes of data so far; what is stored once counts as often
// as it was put, because a reader may hold all of it.
func (b *Builder) RawLen() int { return b.rawLen }

// rawMost is how many times its limit in stored bytes a delta may hold raw: a
// reader that inflates all of it needs that memory.
const rawMost = 2

// weight returns how much of a delta's limit is used: the bytes that are stored,
// those of the open block as they are, or, where data shrinks to less than half,
// half of the raw bytes.
func (b *Builder) weight() int { return max(b.outLen+len(b.cur), b.rawLen/rawMost) }

// Entries returns the number of entries so far.
func (b *Builder) Entries() int { return len(b.d.Entries) }

// Next returns the LSN that Advance must be given next, 0 at the beginning.
func (b *Builder) Next() redoubt.LSN {
	if b.d.First == 0 {
		return 0
	}
	return b.d.Last + 1
}

// Advance moves to the record lsn, whose entries follow; there may be none. A
// time that falls is lifted, because times in a delta never fall.
func (b *Builder) Advance(lsn redoubt.LSN, time int64) error {
	if want := b.Next(); lsn == 0 || want != 0 && lsn != want {
		return &redoubt.Error{Op: "build delta", Object: lsn.String(), Err: fmt.Errorf("after %d: %w", b.d.Last, redoubt.ErrGap)}
	}
	if b.d.First == 0 {
		b.d.First, b.d.FirstTime, b.d.LastTime = lsn, time, time
	}
	b.d.Last, b.d.LastTime = lsn, max(b.d.LastTime, time)
	return nil
}

// Skip moves over the records first..last, which have no entries here; since and
// until are the times of the first and the last of them.
func (b *Builder) Skip(first, last redoubt.LSN, since, until int64) error {
	if err := b.Advance(first, since); err != nil {
		return err
	}
	b.d.Last, b.d.LastTime = last, max(b.d.LastTime, until)
	return nil
}

// Add is Advance and one entry for w. It checks w's checksum, and turns a write
// of zeros into KindZero. It copies the data.
func (b *Builder) Add(w *redoubt.Write) error {
	if err := b.Advance(w.LSN, w.Time); err != nil {
		return err
	}
	if len(w.Data) > 0 && redoubt.Checksum(w.Data) != w.CRC {
		return &redoubt.Error{Op: "build delta", Object: w.LSN.String(), Err: fmt.Errorf("checksum of the write: %w", redoubt.ErrCorrupt)}
	}
	if w.Kind == redoubt.KindWrite && isZero(w.Data) {
		return b.Put(redoubt.KindZero, w.Disk, w.Extent, nil, 0)
	}
	return b.Put(w.Kind, w.Disk, w.Extent, w.Data, w.CRC)
}

// Put adds an entry at the present LSN. It copies data; crc is its checksum.
func (b *Builder) Put(k redoubt.Kind, disk redoubt.DiskID, x redoubt.Extent, data []byte, crc uint32) error {
	e := Entry{LSN: b.d.Last, Time: b.d.LastTime, Kind: k, Disk: disk, Extent: x, Block: NoBlock}
	wrong := b.d.Last == 0 || !k.Valid() || len(data) > MaxBlock || len(b.d.Entries) >= MaxEntries
	if onDisk(k) {
		wrong = wrong || disk == 0 || x.Empty() || !x.Within(redoubt.MaxDiskSize) ||
			k.Zeroes() && data != nil || k == redoubt.KindWrite && data == nil || data != nil && uint64(len(data)) != x.Len
	} else if k.Shapes() {
		wrong = wrong || data != nil || !validSize(disk, x)
	} else {
		e.Extent = redoubt.Extent{}
	}
	if wrong {
		return &redoubt.Error{Op: "build delta", Object: b.d.Last.String(),
			Err: fmt.Errorf("%s of disk %d at %s with %d bytes: %w", k, disk, x, len(data), redoubt.ErrInvalid)}
	}
	if len(data) > 0 {
		p, err := b.place(data, crc)
		if err != nil {
			return err
		}
		e.Block, e.BlockOff, e.DataLen, e.CRC = p.block, p.off, uint32(len(data)), crc
		b.rawLen += len(data)
	}
	b.d.Entries = append(b.d.Entries, e)
	return nil
}

// place returns where data lies, which is put there if the delta does not hold
// it yet.
func (b *Builder) place(data []byte, crc uint32) (samePlace, error) {
	p, there, err := b.find(data, crc)
	if err != nil || there {
		return p, err
	}
	if len(b.cur) > 0 && len(b.cur)+len(data) > blockTarget {
		if err := b.closeBlock(); err != nil {
			return p, err
		}
	}
	p = samePlace{uint32(len(b.stored)), uint32(len(b.cur))}
	b.remember(p, len(data), crc)
	if len(data) >= blockTarget && b.mem.lent(data) {
		raw, err := b.store(data, crc)
		if raw {
			b.mem.keepLent()
		}
		return p, err
	}
	if cap(b.cur) < len(b.cur)+len(data) { // of an empty block
		b.mem.giveBack(b.cur)
		b.cur = slab.Get(max(blockTarget, len(data)))[:0]
	}
	b.cur = append(b.cur, data...)
	if len(data) < joinFrom {
		b.curSum = redoubt.ChecksumUpdate(b.curSum, data)
	} else {
		b.curSum = redoubt.ChecksumJoin(b.curSum, crc, int64(len(data)))
	}
	return p, nil
}

// joinFrom is the length from which joining checksums is cheaper than summing.
const joinFrom = 16 << 10

// Baseline adds a baseline entry: the disks are whole from the position whole on.
func (b *Builder) Baseline(lsn redoubt.LSN, time int64, whole redoubt.LSN) error {
	if err := b.Advance(lsn, time); err != nil {
		return err
	}
	data := binary.BigEndian.AppendUint64(nil, uint64(whole))
	b.d.Baseline = max(b.d.Baseline, whole)
	return b.Put(redoubt.KindBaseline, 0, redoubt.Extent{}, data, redoubt.Checksum(data))
}

func (b *Builder) closeBlock() error {
	if len(b.cur) == 0 {
		return nil
	}
	raw, err := b.store(b.cur, b.curSum)
	if err != nil {
		return err
	}
	if raw {
		b.mem.keep(b.cur)
		b.cur = nil
	}
	b.cur, b.curSum = b.cur[:0], 0
	return nil
}

// store adds a block of the bytes raw, whose checksum is sum. It reports
// whether the block is raw itself.
func (b *Builder) store(raw []byte, sum uint32) (asItIs bool, err error) {
	out, codec, err := b.comp.compress(b.mem.room(compressedMost(len(raw))), raw)
	if err != nil {
		return false, err
	}
	if codec != CodecNone {
		b.mem.fill(len(out))
		sum = redoubt.Checksum(out)
	}
	b.d.blocks = append(b.d.blocks, BlockRef{Len: uint32(len(out)), RawLen: uint32(len(raw)), CRC: sum, Codec: codec})
	b.stored = append(b.stored, out)
	b.outLen += len(out)
	return codec == CodecNone, nil
}

// Finish returns the delta; the builder must not be used again.
func (b *Builder) Finish() (*Delta, error) {
	d, parts, err := b.finish()
	if err == nil {
		d.raw = bytes.Join(parts, nil)
	}
	b.release()
	return d, err
}

// release gives the blocks' memory back.
func (b *Builder) release() {
	b.mem.giveBack(b.cur)
	b.mem.release()
	b.cur, b.stored, b.same = nil, nil, same{}
}

// finish returns the delta, of whose encoding it has the head alone, and all of
// the encoding in parts, which are the caller's until release.
func (b *Builder) finish() (*Delta, [][]byte, error) {
	if err := b.closeBlock(); err != nil {
		return nil, nil, err
	}
	d := &b.d
	if err := redoubt.ValidName("group", string(d.Group)); err != nil {
		return nil, nil, err
	}
	if d.First == 0 || d.Epoch == 0 || len(d.blocks) > maxBlocks {
		return nil, nil, &redoubt.Error{Op: "build delta", Err: fmt.Errorf("epoch %d, first LSN %d, %d blocks: %w", d.Epoch, d.First, len(d.blocks), redoubt.ErrInvalid)}
	}
	d.headLen = headSize(len(d.Group), len(d.Entries), len(d.blocks))
	d.size = d.headLen
	for i := range d.blocks {
		d.blocks[i].Off = uint32(d.size)
		d.size += int(d.blocks[i].Len)
	}
	if d.size > MaxDeltaSize {
		return nil, nil, &redoubt.Error{Op: "build delta", Err: fmt.Errorf("%d bytes are over the limit of %d: %w", d.size, MaxDeltaSize, redoubt.ErrInvalid)}
	}
	d.raw = appendHead(make([]byte, 0, d.headLen), d)
	return d, append([][]byte{d.raw}, b.stored...), nil
}
