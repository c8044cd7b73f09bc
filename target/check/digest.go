package check

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/redoubt-dr/redoubt"
)

// content is what a digest is made of; view.View is one.
type content interface {
	Disks() []redoubt.Disk
	// EachData calls fn with what is not zeros, by rising offset.
	EachData(ctx context.Context, d redoubt.DiskID, fn func(off uint64, data []byte) error) error
}

// leafSize is the piece of a disk that one leaf is the hash of, in bytes.
const leafSize = 1 << 20

// digest computes the root hash of a point: SHA-256 over "redoubt-root-1\n" and
// the digests of the disks, by number. A disk's digest is SHA-256 over
// "redoubt-disk-1\n", its size as 8 bytes, big endian, and the SHA-256 of every
// MiB of it, of the last piece as long as it is. So anybody can check an image
// file with a few lines, and zeros cost nothing to read.
func digest(ctx context.Context, c content) (root string, disks []DiskDigest, err error) {
	all := sha256.New()
	all.Write([]byte("redoubt-root-1\n"))
	for _, d := range c.Disks() {
		t := newTree(d.Size)
		if err := c.EachData(ctx, d.ID, t.data); err != nil {
			return "", nil, err
		}
		sum := t.sum()
		all.Write(sum)
		disks = append(disks, DiskDigest{Name: d.Name, Size: d.Size, SHA256: hex.EncodeToString(sum)})
	}
	return hex.EncodeToString(all.Sum(nil)), disks, nil
}

// tree hashes one disk.
type tree struct {
	size  uint64
	disk  hash.Hash
	leaf  []byte // of the piece under way, zeros where nothing came
	at    uint64 // where it begins
	dirty bool
	zeros [32]byte // hash of a whole piece of zeros
}

func newTree(size uint64) *tree {
	t := &tree{size: size, disk: sha256.New(), leaf: make([]byte, leafSize)}
	t.zeros = sha256.Sum256(t.leaf)
	t.disk.Write(binary.BigEndian.AppendUint64([]byte("redoubt-disk-1\n"), size))
	return t
}

func (t *tree) data(off uint64, b []byte) error {
	for len(b) > 0 {
		t.upTo(off)
		n := copy(t.leaf[off-t.at:], b)
		t.dirty = true
		off, b = off+uint64(n), b[n:]
	}
	return nil
}

// upTo ends the pieces before the one that holds off.
func (t *tree) upTo(off uint64) {
	for off >= t.at+leafSize {
		t.end(leafSize)
	}
}

func (t *tree) end(n uint64) {
	sum := t.zeros
	if t.dirty || n < leafSize {
		sum = sha256.Sum256(t.leaf[:n])
		clear(t.leaf)
		t.dirty = false
	}
	t.disk.Write(sum[:])
	t.at += n
}

func (t *tree) sum() []byte {
	for t.at < t.size {
		t.end(min(leafSize, t.size-t.at))
	}
	return t.disk.Sum(nil)
}
