package index

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// An index file holds merged runs one after the other, each at a multiple of
// 512 bytes; all numbers are little endian.
//
//	file header  magic "RDINDEX\n" 8 | version 2 | zero 6 | file number 8 | zeros | CRC32C in the last 4 of 512 bytes
//	run          run header in 512 bytes, blocks, zeros up to a multiple of 512
//	run header   magic "RDRU" 4 | version 2 | group length g 1 | UUID length u 1
//	             epoch 8 | first ordinal 8 | number of ordinals 8
//	             file number 8 | offset in the file 8 | length of the blocks 8
//	             place of the root block in the run 8 | its length 4 | zero 4
//	             entries 8 | group g | UUID u | CRC32C 4 | zeros
//	footer       magic "RDIF" 4 | version 2 | zero 2 | count 4 | run headers without their zeros | CRC32C 4
//	trailer      magic "RDISEAL\n" 8 | footer offset 8 | footer length 8 | CRC32C 4   (the last 28 bytes)
//
// A run's header is written after its blocks. Blocks that a crash lost are
// found by their checksums, and the run is built again.
const (
	fileMagic    = "RDINDEX\n"
	runMagic     = "RDRU"
	footerMagic  = "RDIF"
	trailerMagic = "RDISEAL\n"
	version      = 1
	sector       = 512
	runFixed     = 80
	maxRunHeader = runFixed + 2*255 + 4
	trailerLen   = 28
	maxFooter    = 256 << 20
	runFiles     = vfs.Numbered(".runs")
)

// run describes a stored run. It is never changed.
type run struct {
	Series
	start, count uint64 // ordinals [start, start+count)
	file         uint64
	off          int64
	bodyLen      uint64
	rootAt       uint64
	rootLen      uint32
	entries      uint64
}

func (r *run) total() int64 { return roundUp(sector + int64(r.bodyLen)) }

func roundUp(n int64) int64 { return (n + sector - 1) &^ (sector - 1) }

func (r *run) encode() []byte {
	le := binary.LittleEndian
	b := append(make([]byte, 0, sector), runMagic...)
	b = le.AppendUint16(b, version)
	b = append(b, uint8(len(r.Group)), uint8(len(r.UUID)))
	for _, v := range []uint64{uint64(r.Epoch), r.start, r.count, r.file, uint64(r.off), r.bodyLen, r.rootAt} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, r.rootLen)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint64(b, r.entries)
	b = append(b, r.Group...)
	b = append(b, r.UUID...)
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// decodeRun reads a run header and returns the bytes behind it.
func decodeRun(b []byte) (*run, []byte, error) {
	r := &run{}
	rest, err := r.decode(b)
	if err != nil {
		return nil, nil, err
	}
	return r, rest, nil
}

// decode is decodeRun into r, which keeps its names if they are the same.
func (r *run) decode(b []byte) ([]byte, error) {
	n, err := runLen(b)
	if err == nil && binary.LittleEndian.Uint32(b[n:]) != redoubt.Checksum(b[:n]) {
		err = corrupt("run header")
	}
	if err != nil {
		return nil, err
	}
	return r.decodeChecked(b, n)
}

// runLen returns the length of a run header without its checksum.
func runLen(b []byte) (int, error) {
	if len(b) < runFixed+4 || string(b[:4]) != runMagic {
		return 0, corrupt("no run")
	}
	n := runFixed + int(b[6]) + int(b[7])
	if len(b) < n+4 {
		return 0, corrupt("run header")
	}
	return n, nil
}

// decodeChecked reads a header of n bytes whose checksum, or one over it, was verified.
func (r *run) decodeChecked(b []byte, n int) ([]byte, error) {
	le := binary.LittleEndian
	g := int(b[6])
	if v := le.Uint16(b[4:]); v != version {
		return nil, fmt.Errorf("run version %d: %w", v, redoubt.ErrVersion)
	}
	if string(b[runFixed:runFixed+g]) != string(r.Group) {
		r.Group = redoubt.GroupID(b[runFixed : runFixed+g])
	}
	if string(b[runFixed+g:n]) != r.UUID {
		r.UUID = string(b[runFixed+g : n])
	}
	r.Epoch = redoubt.Epoch(le.Uint64(b[8:]))
	r.start, r.count, r.file, r.off, r.bodyLen = le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:]), int64(le.Uint64(b[40:])), le.Uint64(b[48:])
	r.rootAt, r.rootLen, r.entries = le.Uint64(b[56:]), le.Uint32(b[64:]), le.Uint64(b[72:])
	if r.bodyLen > 1<<50 || r.off < 0 || r.rootLen > maxBlock || r.rootAt > r.bodyLen+sector || r.count == 0 {
		return nil, corrupt("run lengths")
	}
	return b[n+4:], nil
}

func encodeFileHeader(n uint64) []byte {
	b := make([]byte, sector)
	copy(b, fileMagic)
	binary.LittleEndian.PutUint16(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], n)
	binary.LittleEndian.PutUint32(b[sector-4:], redoubt.Checksum(b[:sector-4]))
	return b
}

func checkFileHeader(b []byte, n uint64) error {
	le := binary.LittleEndian
	switch {
	case len(b) < sector || string(b[:8]) != fileMagic || le.Uint32(b[sector-4:]) != redoubt.Checksum(b[:sector-4]):
		return corrupt("not an index file")
	case le.Uint16(b[8:]) != version:
		return fmt.Errorf("index version %d: %w", le.Uint16(b[8:]), redoubt.ErrVersion)
	case le.Uint64(b[16:]) != n:
		return corrupt("file of another number")
	}
	return nil
}

func encodeTrailer(off int64, n int) []byte {
	le := binary.LittleEndian
	b := append([]byte{}, trailerMagic...)
	b = le.AppendUint64(b, uint64(off))
	b = le.AppendUint64(b, uint64(n))
	return le.AppendUint32(b, redoubt.Checksum(b))
}
