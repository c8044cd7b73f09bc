package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A log file: one sector of file header, records, and, once it is sealed, a
// footer that lists the records (footer.go) and a trailer that says where it is.
//
//	file header  magic "RDSHLOG\n" 8 | version 2 | zero 6 | file number 8 | zeros | CRC32C in the last 4 of 512 bytes
//	trailer      magic "RDSEALED" 8 | footer offset 8 | footer length 8 | CRC32C 4   (the last 28 bytes)
const (
	fileMagic    = "RDSHLOG\n"
	footerMagic  = "RDSF"
	trailerMagic = "RDSEALED"
	trailerLen   = 28
	maxFooter    = 256 << 20
	logFiles     = vfs.Numbered(".shards")
)

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
	case len(b) < sector || string(b[:8]) != fileMagic:
		return corrupt("not a shard log file")
	case le.Uint32(b[sector-4:]) != redoubt.Checksum(b[:sector-4]):
		return corrupt("file header checksum")
	case le.Uint16(b[8:]) != version:
		return fmt.Errorf("shard log version %d: %w", le.Uint16(b[8:]), redoubt.ErrVersion)
	case le.Uint64(b[16:]) != n:
		return corrupt(fmt.Sprintf("file says it is number %d", le.Uint64(b[16:])))
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

// readTrailer returns where the footer of a sealed file lies; ok is false if b,
// the file's last bytes, is no trailer.
func readTrailer(b []byte, size int64) (off, n int64, ok bool) {
	le := binary.LittleEndian
	if len(b) < trailerLen {
		return 0, 0, false
	}
	b = b[len(b)-trailerLen:]
	if string(b[:8]) != trailerMagic || le.Uint32(b[24:]) != redoubt.Checksum(b[:24]) {
		return 0, 0, false
	}
	o, l := le.Uint64(b[8:]), le.Uint64(b[16:])
	if l > maxFooter || o > uint64(size) || o+l+trailerLen != uint64(size) {
		return 0, 0, false
	}
	return int64(o), int64(l), true
}

// readFooter reads the whole footer of a sealed file and verifies all of it,
// whatever its version; off is where it begins, 0 if f is not sealed. ok is false if
// it is not, or after an error. What the disk cannot read is ErrCorrupt, too: a
// footer can be made of the records.
func readFooter(f vfs.File, file uint64, size int64) (hs []*header, v uint16, off int64, ok bool, err error) {
	t := make([]byte, min(trailerLen, size))
	if err := vfs.Lost(readFull(f, t, size-int64(len(t)))); err != nil {
		return nil, 0, 0, false, err
	}
	off, n, sealed := readTrailer(t, size)
	if !sealed {
		return nil, 0, 0, false, nil
	}
	b := make([]byte, n)
	if err := vfs.Lost(readFull(f, b, off)); err != nil {
		return nil, 0, off, false, err
	}
	if len(b) > 6 && binary.LittleEndian.Uint16(b[4:]) == footerV1 {
		hs, err = decodeFooterV1(b, file)
		return hs, footerV1, off, err == nil, err
	}
	hs, err = decodeFooter(b, file, off)
	return hs, footerVersion, off, err == nil, err
}
