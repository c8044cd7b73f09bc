package fsload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// CellSize is the unit of all sizes, offsets and judgements, in bytes: less
// than a block of a file system, so that blocks are written in part, too.
const CellSize = 512

// A cell says what it is:
//
//	0       4          12         20        28                508      512
//	+-------+----------+----------+---------+-----------------+--------+
//	| magic | file u64 | write u64| cell u64| seeded noise    | CRC32C |
//	+-------+----------+----------+---------+-----------------+--------+
//
// A cell of zeros is a hole: write 0.
const cellMagic = 0x52464331

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fillCells fills p with the cells of one write, from cell first on.
func fillCells(p []byte, file, write uint64, first int) {
	noise := rand.New(rand.NewPCG(file, write))
	for i := 0; i < len(p); i += CellSize {
		c := p[i : i+CellSize]
		binary.LittleEndian.PutUint32(c, cellMagic)
		binary.LittleEndian.PutUint64(c[4:], file)
		binary.LittleEndian.PutUint64(c[12:], write)
		binary.LittleEndian.PutUint64(c[20:], uint64(first+i/CellSize))
		for j := 28; j < 508; j += 8 {
			binary.LittleEndian.PutUint64(c[j:], noise.Uint64())
		}
		binary.LittleEndian.PutUint32(c[508:], crc32.Checksum(c[:508], castagnoli))
	}
}

var errForeign = errors.New("not what any write put there")

// readCell returns the write that made a cell of that file at that place.
func readCell(c []byte, file uint64, at int) (write uint64, err error) {
	zero := true
	for _, b := range c {
		zero = zero && b == 0
	}
	if zero {
		return 0, nil
	}
	f, w, i := binary.LittleEndian.Uint64(c[4:]), binary.LittleEndian.Uint64(c[12:]), binary.LittleEndian.Uint64(c[20:])
	switch {
	case binary.LittleEndian.Uint32(c) != cellMagic || binary.LittleEndian.Uint32(c[508:]) != crc32.Checksum(c[:508], castagnoli):
		return 0, fmt.Errorf("cell %d, starting with % x: %w", at, c[:8], errForeign)
	case f != file || i != uint64(at):
		return 0, fmt.Errorf("cell %d of file %d holds cell %d of file %d (write %d): %w", at, file, i, f, w, errForeign)
	}
	return w, nil
}
