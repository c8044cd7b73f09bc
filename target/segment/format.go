package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// A record of the shard log. It begins at a multiple of 512 bytes; all numbers
// are little endian.
//
//	+0   magic "RDSR"        4 | version 2 | type 1 | shard index 1
//	+8   k 1 | m 1 | group length g 1 | UUID length u 1 | header length 4
//	+16  file number         8
//	+24  offset in the file  8
//	+32  durable             8   bytes of this file that were durable when this was written
//	+40  epoch               8
//	+48  ordinal             8
//	+56  delta CRC32C        4 | delta size 4
//	+64  head length         4 | shard length 4
//	+72  chunk size          4 | head CRC32C 4 (bound like a chunk)
//	+80  group g, UUID u
//	     chunk CRC32Cs       4 each, bound to the identity and the chunk's number
//	     header CRC32C       4
//	     head, shard, zeros up to a multiple of 512
//
// The file number and offset bind a record to its place: what an earlier use of
// the blocks left behind is never taken for a record.
const (
	recordMagic = "RDSR"
	version     = 1

	typeShard     = 1
	typeTombstone = 2

	fixedLen  = 80
	sector    = 512
	chunkSize = 64 << 10
	maxUUID   = 64

	// MaxShard and MaxHead bound what a record may claim, in bytes.
	MaxShard = 64 << 20
	MaxHead  = 32 << 20

	maxHeader = fixedLen + 64 + maxUUID + 4*(MaxShard/4096) + 4
)

// header is the decoded header of a record.
type header struct {
	ID
	Type      uint8
	K, M      uint8
	File      uint64
	Offset    int64
	Durable   int64
	Size      uint32
	HeadLen   uint32
	ShardLen  uint32
	ChunkSize uint32
	HeadCRC   uint32
	Chunks    []uint32
	Len       uint32 // of the header itself
}

func chunks(shardLen, size uint32) int {
	return int((uint64(shardLen) + uint64(size) - 1) / uint64(size))
}

// total returns the record's length on disk.
func (h *header) total() int64 {
	return roundUp(int64(h.Len) + int64(h.HeadLen) + int64(h.ShardLen))
}

func roundUp(n int64) int64 { return (n + sector - 1) &^ (sector - 1) }

// newHeader computes the checksums of s; the place is filled in by the writer.
func newHeader(s *Shard) *header {
	h := &header{ID: s.ID, Type: typeShard, K: s.K, M: s.M, Size: s.Size, HeadLen: uint32(len(s.Head)),
		ShardLen: uint32(len(s.Data)), ChunkSize: chunkSize}
	bind := s.ID.bind()
	h.HeadCRC = headSum(bind, s.Head)
	h.Chunks = make([]uint32, chunks(h.ShardLen, chunkSize))
	for i := range h.Chunks {
		h.Chunks[i] = chunkSum(bind, i, s.Data[i*chunkSize:min((i+1)*chunkSize, len(s.Data))])
	}
	h.Len = uint32(fixedLen + len(s.Group) + len(s.UUID) + 4*len(h.Chunks) + 4)
	return h
}

func newTombstone(id ID) *header {
	return &header{ID: id, Type: typeTombstone, ChunkSize: chunkSize, Len: uint32(fixedLen + len(id.Group) + len(id.UUID) + 4)}
}

func headSum(bind uint32, head []byte) uint32 { return chunkSum(bind, -1, head) }

func (h *header) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, h.Len)
	b = append(b, recordMagic...)
	b = le.AppendUint16(b, version)
	b = append(b, h.Type, h.Shard, h.K, h.M, uint8(len(h.Group)), uint8(len(h.UUID)))
	b = le.AppendUint32(b, h.Len)
	b = le.AppendUint64(b, h.File)
	b = le.AppendUint64(b, uint64(h.Offset))
	b = le.AppendUint64(b, uint64(h.Durable))
	b = le.AppendUint64(b, uint64(h.Epoch))
	b = le.AppendUint64(b, h.Ordinal)
	for _, v := range []uint32{h.CRC, h.Size, h.HeadLen, h.ShardLen, h.ChunkSize, h.HeadCRC} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, h.Group...)
	b = append(b, h.UUID...)
	for _, c := range h.Chunks {
		b = le.AppendUint32(b, c)
	}
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// headerLen checks the first fixedLen bytes of a record and returns how long
// its header is. It returns ErrCorrupt for anything that is no record.
func headerLen(b []byte) (int, error) {
	if len(b) < fixedLen || !bytes.Equal(b[:4], []byte(recordMagic)) {
		return 0, corrupt("no record")
	}
	le := binary.LittleEndian
	n := le.Uint32(b[12:])
	shardLen, chunk := le.Uint32(b[68:]), le.Uint32(b[72:])
	if v := le.Uint16(b[4:]); v != version {
		// A version is believed only under a valid checksum, or a flipped bit
		// would be taken for a newer program.
		if n >= fixedLen+4 && n <= maxHeader {
			return int(n), nil
		}
		return 0, corrupt("header length")
	}
	if chunk < 4096 || chunk&(chunk-1) != 0 || shardLen > MaxShard || le.Uint32(b[64:]) > MaxHead {
		return 0, corrupt("lengths")
	}
	want := fixedLen + int(b[10]) + int(b[11]) + 4*chunks(shardLen, chunk) + 4
	if uint64(n) != uint64(want) {
		return 0, corrupt("header length")
	}
	return want, nil
}

// decodeHeader reads a whole header, which headerLen has measured.
func decodeHeader(b []byte) (*header, error) {
	n, err := headerLen(b)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		return nil, corrupt("short header")
	}
	b = b[:n]
	le := binary.LittleEndian
	if le.Uint32(b[n-4:]) != redoubt.Checksum(b[:n-4]) {
		return nil, corrupt("header checksum")
	}
	if v := le.Uint16(b[4:]); v != version {
		return nil, fmt.Errorf("record version %d: %w", v, redoubt.ErrVersion)
	}
	h := &header{Type: b[6], K: b[8], M: b[9], Len: uint32(n),
		File: le.Uint64(b[16:]), Offset: int64(le.Uint64(b[24:])), Durable: int64(le.Uint64(b[32:])),
		Size: le.Uint32(b[60:]), HeadLen: le.Uint32(b[64:]), ShardLen: le.Uint32(b[68:]), ChunkSize: le.Uint32(b[72:]), HeadCRC: le.Uint32(b[76:])}
	g, u := int(b[10]), int(b[11])
	h.ID = ID{Group: redoubt.GroupID(b[fixedLen : fixedLen+g]), UUID: string(b[fixedLen+g : fixedLen+g+u]),
		Epoch: redoubt.Epoch(le.Uint64(b[40:])), Ordinal: le.Uint64(b[48:]), Shard: b[7], CRC: le.Uint32(b[56:])}
	if h.Type != typeShard && h.Type != typeTombstone {
		return nil, corrupt("record type")
	}
	if err := h.ID.validate(); err != nil {
		return nil, corrupt("names")
	}
	h.Chunks = make([]uint32, chunks(h.ShardLen, h.ChunkSize))
	for i := range h.Chunks {
		h.Chunks[i] = le.Uint32(b[fixedLen+g+u+4*i:])
	}
	return h, nil
}

// same reports whether h and o hold the same content.
func (h *header) same(o *header) bool {
	if h.ID != o.ID || h.K != o.K || h.M != o.M || h.Size != o.Size || h.HeadLen != o.HeadLen || h.ShardLen != o.ShardLen ||
		h.HeadCRC != o.HeadCRC || len(h.Chunks) != len(o.Chunks) {
		return false
	}
	for i, c := range h.Chunks {
		if c != o.Chunks[i] {
			return false
		}
	}
	return true
}

func corrupt(what string) error { return fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt) }
