package redoubt

import (
	"hash/crc32"
	"strconv"
	"time"
)

// MaxWriteData is the largest payload of one Write, in bytes. A longer request
// of a client becomes several Writes with LSNs of their own: a block device
// promises atomicity of a sector, not of a request.
const MaxWriteData = 256 << 10

// SectorSize is the unit in which disks are sized, in bytes.
const SectorSize = 512

// MaxDiskSize is the largest disk that Redoubt protects, in bytes.
const MaxDiskSize = 16 << 40

// Kind says what a Write does to its disk.
type Kind uint8

// The kinds of a Write. Their numbers are part of every on-disk and wire
// format and never change.
const (
	// KindWrite puts Data at Extent.
	KindWrite Kind = 1
	// KindZero makes Extent read as zeros (WRITE_ZEROES, or data found to be all zero).
	KindZero Kind = 2
	// KindTrim makes Extent read as zeros and gives its space back (TRIM).
	KindTrim Kind = 3
	// KindCopy announces, in the source's journal, that the content of Extent is
	// shipped at this place of the order; it has no payload in the journal. The
	// sender reads the disk when it ships it. See ship/DESIGN.md.
	KindCopy Kind = 4
	// KindBaseline follows the last KindCopy of a copy: once everything up to
	// the LSN that the sender adds to it is applied, the disks are whole.
	KindBaseline Kind = 5
	// KindBookmark names a point: Data is the name, Extent is empty.
	KindBookmark Kind = 6
	// KindResize says that the disk has Extent.Off bytes from here on, Extent.Len
	// is 0. A disk only grows; what it grows by reads as zeros.
	KindResize Kind = 7
	// KindJoin says that the disk, of Extent.Off bytes, belongs to the group's points
	// from here on: what was written and copied of it before makes it whole.
	KindJoin Kind = 8
	// KindLeave says that the disk, of Extent.Off bytes, does not belong to the
	// group's points from here on. Its history reads as zeros.
	KindLeave Kind = 9
)

// String returns the kind's name in lower case.
func (k Kind) String() string {
	switch k {
	case KindWrite:
		return "write"
	case KindZero:
		return "zero"
	case KindTrim:
		return "trim"
	case KindCopy:
		return "copy"
	case KindBaseline:
		return "baseline"
	case KindBookmark:
		return "bookmark"
	case KindResize:
		return "resize"
	case KindJoin:
		return "join"
	case KindLeave:
		return "leave"
	}
	return "kind-" + strconv.Itoa(int(k))
}

// Valid reports whether k is a kind that this version knows.
func (k Kind) Valid() bool { return k >= KindWrite && k <= KindLeave }

// Shapes reports whether a write of kind k says what its disk is, not what it holds:
// Extent.Off is the disk's size, Extent.Len is 0, and there is no data.
func (k Kind) Shapes() bool { return k >= KindResize && k <= KindLeave }

// Zeroes reports whether the extent reads as zeros after a write of kind k.
func (k Kind) Zeroes() bool { return k == KindZero || k == KindTrim }

// Write is one change of one disk, in its group's order.
type Write struct {
	LSN    LSN
	Time   int64 // Unix time in nanoseconds; never falls along a group's order
	Disk   DiskID
	Kind   Kind
	Extent Extent
	CRC    uint32 // Checksum(Data), computed where the data entered Redoubt; 0 if there is no data
	Data   []byte // at most MaxWriteData bytes; nil unless Kind is KindWrite, KindBaseline or KindBookmark (or KindCopy on the wire)
}

// When returns the write's time.
func (w *Write) When() time.Time { return time.Unix(0, w.Time) }

// Extent is a range of bytes of a disk.
type Extent struct {
	Off uint64 `json:"off"`
	Len uint64 `json:"len"`
}

// End returns the first byte after the extent.
func (e Extent) End() uint64 { return e.Off + e.Len }

// Empty reports whether the extent holds no byte.
func (e Extent) Empty() bool { return e.Len == 0 }

// Overlaps reports whether e and f share a byte.
func (e Extent) Overlaps(f Extent) bool { return e.Off < f.End() && f.Off < e.End() }

// Intersect returns the bytes that e and f share; it is empty if there are none.
func (e Extent) Intersect(f Extent) Extent {
	off, end := max(e.Off, f.Off), min(e.End(), f.End())
	if off >= end {
		return Extent{}
	}
	return Extent{off, end - off}
}

// Within reports whether the extent lies inside a disk of size bytes, without
// overflow.
func (e Extent) Within(size uint64) bool { return e.Off <= size && e.Len <= size-e.Off }

// String returns "OFF+LEN".
func (e Extent) String() string {
	return strconv.FormatUint(e.Off, 10) + "+" + strconv.FormatUint(e.Len, 10)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC32C (Castagnoli polynomial, RFC 3720 appendix B.4) of b.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// ChecksumUpdate adds b to the CRC32C crc.
func ChecksumUpdate(crc uint32, b []byte) uint32 { return crc32.Update(crc, castagnoli, b) }
