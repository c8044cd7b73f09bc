package ship

import (
	"encoding/binary"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// Caps that both sides hold to. A Delta that breaks one is corrupt.
const (
	MaxBlock     = redoubt.MaxWriteData // raw bytes of a block
	MaxDeltaSize = 32 << 20             // encoded bytes of a delta
	MaxEntries   = 1 << 18              // entries of a delta
	maxBlocks    = 1 << 16
)

// NoBlock is Entry.Block of an entry without data.
const NoBlock = ^uint32(0)

// Entry is one change in a Delta.
type Entry struct {
	LSN    redoubt.LSN
	Time   int64 // Unix time in nanoseconds
	Kind   redoubt.Kind
	Disk   redoubt.DiskID
	Extent redoubt.Extent // empty for KindBaseline and KindBookmark; where Kind.Shapes the disk's size is its Off
	CRC    uint32         // redoubt.Checksum of the entry's data; 0 without data
	Block  uint32         // number of the block that holds the data, or NoBlock
	// BlockOff and DataLen place the data in the raw block, in bytes. DataLen is
	// Extent.Len for disk data.
	BlockOff, DataLen uint32
}

// HasData reports whether the entry carries bytes.
func (e *Entry) HasData() bool { return e.Block != NoBlock }

// Delta is a contiguous range of a group's history in one epoch, as it is
// shipped and stored. It does not change after it was built or parsed and may
// be shared.
//
// Entries are in order of LSN. The entries of one copy record share its LSN; an
// LSN without an entry changed nothing that is shipped.
type Delta struct {
	Group               redoubt.GroupID
	Epoch               redoubt.Epoch
	First, Last         redoubt.LSN
	FirstTime, LastTime int64 // times of the first and the last LSN
	Entries             []Entry
	// Baseline, if not 0, says that the disks are whole at every position from
	// this LSN on (which may be above Last) once this delta is applied.
	Baseline redoubt.LSN

	blocks  []BlockRef
	headLen int
	size    int
	raw     []byte // the encoding; only the head after ParseHead
	sum     uint32 // of raw, if summed
	summed  bool
	lent    bool // raw is of package slab
}

// BlockRef says where a block lies in a delta's encoding.
type BlockRef struct {
	Off, Len uint32 // the stored bytes
	RawLen   uint32 // bytes after inflating, at most MaxBlock
	CRC      uint32 // redoubt.Checksum of the stored bytes
	Codec    Codec
}

// Encoded returns the encoding. The caller must not change it. After ParseHead
// it is the head alone.
func (d *Delta) Encoded() []byte { return d.raw }

// Sum returns the checksum of the encoding: the one that came with the frame in
// which the delta did, if it came in one.
func (d *Delta) Sum() uint32 {
	if d.summed {
		return d.sum
	}
	return redoubt.Checksum(d.raw)
}

// Release gives the memory of an encoding that a Receiver has read back. Nobody
// may use the delta's bytes any more. Who does not call it leaves the memory to
// the collector of garbage.
func (d *Delta) Release() {
	if d.lent {
		slab.Put(d.raw)
		d.raw, d.lent = nil, false
	}
}

// HeadLen returns the length in bytes of header, entry table and directory,
// which are the first bytes of the encoding.
func (d *Delta) HeadLen() int { return d.headLen }

// Size returns the length in bytes of the whole encoding.
func (d *Delta) Size() int { return d.size }

// Blocks returns the block directory. The caller must not change it.
func (d *Delta) Blocks() []BlockRef { return d.blocks }

// RawLen returns the bytes of all blocks after inflating.
func (d *Delta) RawLen() int {
	n := 0
	for _, b := range d.blocks {
		n += int(b.RawLen)
	}
	return n
}

// The encoding, little-endian:
//
//	+----------------+ 0
//	| header         | headerLen bytes, ends with its CRC32C
//	+----------------+
//	| group id       | padded with zeros to 8
//	+----------------+
//	| entries        | entryLen bytes each
//	+----------------+
//	| directory      | refLen bytes for each block
//	+----------------+
//	| CRC32C, zeros  | of everything since the header; 8 bytes
//	+----------------+ head length
//	| blocks         | one after the other, each with its CRC in the directory
//	+----------------+ total length
//
//	header
//	 0        8         10      12         16      20        24       28         30
//	+--------+---------+-------+----------+-------+---------+--------+----------+------+
//	| magic  | version | flags | head len | total | entries | blocks | group len| zero |
//	+--------+---------+-------+----------+-------+---------+--------+----------+------+
//	 32      40      48     56           64          72         80     92       96
//	+-------+-------+------+------------+-----------+----------+------+--------+
//	| epoch | first | last | first time | last time | baseline | zero | crc32c |
//	+-------+-------+------+------------+-----------+----------+------+--------+
//
//	entry
//	 0     8      16       24    32    36      40         44     46     47     48
//	+-----+------+--------+-----+-----+-------+----------+------+------+------+
//	| lsn | time | offset | len | crc | block | blockoff | disk | kind | zero |
//	+-----+------+--------+-----+-----+-------+----------+------+------+------+
//	(len of a baseline or bookmark is that of its data, offset is 0)
//
//	directory element
//	 0        4     8         12    16      17     20
//	+--------+-----+---------+-----+-------+------+
//	| offset | len | raw len | crc | codec | zero |
//	+--------+-----+---------+-----+-------+------+
const (
	deltaMagic   = "RDBTDLTA"
	deltaVersion = 1
	headerLen    = 96
	entryLen     = 48
	refLen       = 20
	tailLen      = 8
)

func pad8(n int) int { return (n + 7) &^ 7 }

func headSize(group, entries, blocks int) int {
	return headerLen + pad8(group) + entries*entryLen + pad8(blocks*refLen) + tailLen
}

func appendHead(b []byte, d *Delta) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = append(b, deltaMagic...)
	b = le.AppendUint16(b, deltaVersion)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, uint32(d.headLen))
	b = le.AppendUint32(b, uint32(d.size))
	b = le.AppendUint32(b, uint32(len(d.Entries)))
	b = le.AppendUint32(b, uint32(len(d.blocks)))
	b = le.AppendUint16(b, uint16(len(d.Group)))
	b = le.AppendUint16(b, 0)
	b = le.AppendUint64(b, uint64(d.Epoch))
	b = le.AppendUint64(b, uint64(d.First))
	b = le.AppendUint64(b, uint64(d.Last))
	b = le.AppendUint64(b, uint64(d.FirstTime))
	b = le.AppendUint64(b, uint64(d.LastTime))
	b = le.AppendUint64(b, uint64(d.Baseline))
	b = append(b, make([]byte, 12)...)
	b = le.AppendUint32(b, redoubt.Checksum(b[start:]))

	body := len(b)
	b = append(b, d.Group...)
	b = append(b, make([]byte, pad8(len(d.Group))-len(d.Group))...)
	for i := range d.Entries {
		b = appendEntry(b, &d.Entries[i])
	}
	for _, r := range d.blocks {
		b = le.AppendUint32(b, r.Off)
		b = le.AppendUint32(b, r.Len)
		b = le.AppendUint32(b, r.RawLen)
		b = le.AppendUint32(b, r.CRC)
		b = append(b, byte(r.Codec), 0, 0, 0)
	}
	dir := len(d.blocks) * refLen
	b = append(b, make([]byte, pad8(dir)-dir)...)
	b = le.AppendUint32(b, redoubt.Checksum(b[body:]))
	return le.AppendUint32(b, 0)
}

func appendEntry(b []byte, e *Entry) []byte {
	le := binary.LittleEndian
	n := e.Extent.Len
	if !onDisk(e.Kind) {
		n = uint64(e.DataLen)
	}
	b = le.AppendUint64(b, uint64(e.LSN))
	b = le.AppendUint64(b, uint64(e.Time))
	b = le.AppendUint64(b, e.Extent.Off)
	b = le.AppendUint64(b, n)
	b = le.AppendUint32(b, e.CRC)
	b = le.AppendUint32(b, e.Block)
	b = le.AppendUint32(b, e.BlockOff)
	b = le.AppendUint16(b, uint16(e.Disk))
	return append(b, byte(e.Kind), 0)
}

// onDisk reports whether entries of kind k have an extent.
func onDisk(k redoubt.Kind) bool {
	return k != redoubt.KindBaseline && k != redoubt.KindBookmark && !k.Shapes()
}

// validSize reports whether an entry whose kind shapes a disk names a size that a disk can have.
func validSize(disk redoubt.DiskID, x redoubt.Extent) bool {
	return disk != 0 && x.Len == 0 && x.Off > 0 && x.Off <= redoubt.MaxDiskSize && x.Off%redoubt.SectorSize == 0
}
