package compare

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/redoubt-dr/redoubt"
)

// Roots computes the root hash of a group's disks from the sums of their
// chunks. Chunks of zeros do not count, so that holes cost nothing; the disk's
// number and size do.
type Roots struct {
	all  hash.Hash
	disk hash.Hash // nil between disks
	info redoubt.Disk
	zero Sum
}

// NewRoots returns an empty computation.
func NewRoots() *Roots {
	r := &Roots{all: sha256.New(), zero: newHasher().zero.Sum}
	r.all.Write([]byte{ofAll})
	return r
}

// Disk begins the next disk, in the order of their numbers.
func (r *Roots) Disk(d redoubt.Disk) {
	r.end()
	r.disk, r.info = sha256.New(), d
	r.disk.Write([]byte{ofDisk})
}

// Chunk adds the next chunk of the disk.
func (r *Roots) Chunk(n uint64, s Sum) {
	if s != r.zero {
		r.disk.Write(append(binary.LittleEndian.AppendUint64(nil, n), s[:]...))
	}
}

func (r *Roots) end() {
	if r.disk == nil {
		return
	}
	b := binary.LittleEndian.AppendUint16(nil, uint16(r.info.ID))
	b = binary.LittleEndian.AppendUint64(b, r.info.Size)
	r.all.Write(r.disk.Sum(b))
	r.disk = nil
}

// Sum returns the root hash over all disks.
func (r *Roots) Sum() (s Sum) {
	r.end()
	r.all.Sum(s[:0])
	return s
}

// chunks is the number of chunks of a disk.
func chunks(size uint64) uint64 { return (size + ChunkSize - 1) / ChunkSize }
