package index

import (
	"github.com/redoubt-dr/redoubt"
)

// Entry is one change of a disk as a segment's head tells it.
type Entry struct {
	LSN      redoubt.LSN
	Disk     redoubt.DiskID
	Extent   redoubt.Extent
	Zero     bool // reads as zeros; the rest has no meaning then
	Block    uint32
	BlockOff uint32
	CRC      uint32 // of the entry's data
}

// Series names the history of one epoch of one group.
type Series struct {
	Group redoubt.GroupID
	UUID  string
	Epoch redoubt.Epoch
}

// Ref says where the bytes of a Piece lie: Skip bytes into the entry whose
// data is [BlockOff, BlockOff+Len) of the inflated block and has checksum CRC.
type Ref struct {
	Epoch    redoubt.Epoch
	Ordinal  uint64
	Block    uint32
	BlockOff uint32
	Skip     uint32
	Len      uint32
	CRC      uint32
}

// Kind says what a Piece is.
type Kind uint8

// The kinds of a Piece.
const (
	Hole Kind = iota // never written; reads as zeros
	Zero             // written as zeros or trimmed
	Data             // the bytes are at Ref
)

// Piece is one part of the answer to a lookup.
type Piece struct {
	Extent redoubt.Extent
	Kind   Kind
	Ref    Ref // if Kind is Data
}

// flat is an entry of a run in which no two entries overlap.
type flat struct {
	disk     redoubt.DiskID
	zero     bool
	block    uint32
	blockOff uint32
	skip     uint32
	elen     uint32
	crc      uint32
	off, len uint64
	ordinal  uint64
}

func (f *flat) end() uint64 { return f.off + f.len }

// clip cuts f to [from, to), which must lie inside it.
func (f flat) clip(from, to uint64) flat {
	if !f.zero {
		f.skip += uint32(from - f.off)
	}
	f.off, f.len = from, to-from
	return f
}

func (f *flat) ref(e redoubt.Epoch) Ref {
	return Ref{Epoch: e, Ordinal: f.ordinal, Block: f.block, BlockOff: f.blockOff, Skip: f.skip, Len: f.elen, CRC: f.crc}
}
