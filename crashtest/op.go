package crashtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
)

// op is one change of a disk. It is one record of the journal: the n-th op of a
// world has LSN n.
type op struct {
	disk  int // index of the disk
	kind  redoubt.Kind
	e     redoubt.Extent
	fua   bool
	stamp uint64 // what its payload is made of; never used twice
}

// maxSectors is the longest usual op, in sectors.
const maxSectors = 16

// randomOp draws an op on disks of the given sizes in bytes.
func randomOp(rng *rand.Rand, sizes []uint64) op {
	o := op{disk: rng.IntN(len(sizes)), kind: redoubt.KindWrite, fua: rng.IntN(16) == 0, stamp: rng.Uint64()}
	most := uint64(maxSectors)
	switch rng.IntN(10) {
	case 0:
		o.kind, most = redoubt.KindZero, 64
	case 1:
		o.kind, most = redoubt.KindTrim, 64
	case 2:
		most = 96
	}
	all := sizes[o.disk] / redoubt.SectorSize
	n := 1 + rng.Uint64N(min(most, all))
	o.e = redoubt.Extent{Off: rng.Uint64N(all-n+1) * redoubt.SectorSize, Len: n * redoubt.SectorSize}
	return o
}

// data returns the payload: every sector differs from every other one.
func (o *op) data() []byte {
	if o.kind != redoubt.KindWrite {
		return nil
	}
	p := make([]byte, o.e.Len)
	for i := 0; i < len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], (o.stamp+uint64(i/redoubt.SectorSize))*0x9e3779b97f4a7c15|1)
	}
	return p
}

// issue sends the op to its volume.
func (o *op) issue(v *blockdev.Volume) error {
	if o.kind == redoubt.KindWrite {
		return v.Write(o.data(), o.e.Off, o.fua)
	}
	return v.Zero(o.e, o.kind == redoubt.KindTrim, o.fua)
}

// play applies the op to plain bytes.
func (o *op) play(images [][]byte) {
	part := images[o.disk][o.e.Off:o.e.End()]
	if o.kind == redoubt.KindWrite {
		copy(part, o.data())
		return
	}
	clear(part)
}

// matches tells how the journal's record w differs from the op, "" if it does not.
func (o *op) matches(w *redoubt.Write) string {
	switch {
	case int(w.Disk) != o.disk+1 || w.Kind != o.kind || w.Extent != o.e:
		return fmt.Sprintf("record %d is a %s of disk %d at %s, the write was a %s of disk %d at %s", w.LSN, w.Kind, w.Disk, w.Extent, o.kind, o.disk+1, o.e)
	case !bytes.Equal(w.Data, o.data()):
		return fmt.Sprintf("record %d of disk %d at %s: its data is not what was written", w.LSN, w.Disk, w.Extent)
	}
	return ""
}

// differ tells where two contents differ first, "" if they do not.
func differ(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return fmt.Sprintf("sector %d (byte %d) is not what the order of writes makes it", i/redoubt.SectorSize, i)
		}
	}
	return "it is longer than the disk"
}

// blank returns disks that were never written.
func blank(sizes []uint64) [][]byte {
	out := make([][]byte, len(sizes))
	for i, n := range sizes {
		out[i] = make([]byte, n)
	}
	return out
}
