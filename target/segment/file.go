package segment

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A log file: one sector of file header, records, and, once it is sealed, a
// footer that lists the records, so that opening need not visit them.
//
//	file header  magic "RDSHLOG\n" 8 | version 2 | zero 6 | file number 8 | zeros | CRC32C in the last 4 of 512 bytes
//	footer       magic "RDSF" 4 | version 2 | zero 2 | count 4 | entries | CRC32C 4
//	  entry      offset 8 | header length 4 | type 1 | shard 1 | k 1 | m 1 | g 1 | u 1 |
//	             epoch 8 | ordinal 8 | delta CRC 4 | size 4 | head length 4 | shard length 4 | group g | UUID u
//	trailer      magic "RDSEALED" 8 | footer offset 8 | footer length 8 | CRC32C 4   (the last 28 bytes)
const (
	fileMagic    = "RDSHLOG\n"
	footerMagic  = "RDSF"
	trailerMagic = "RDSEALED"
	trailerLen   = 28
	footerFixed  = 16 // of a footer without records
	footerEntry  = 50 // of a record in it, without its names
	entryFixed   = 50
	maxFooter    = 256 << 20
	suffix       = ".shards"
)

func fileName(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", n, suffix))
}

func parseFileName(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, suffix)
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil
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

// encodeFooter lists hs in the order of the file.
func encodeFooter(hs []*header) []byte {
	le := binary.LittleEndian
	b := append([]byte{}, footerMagic...)
	b = le.AppendUint16(b, version)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, uint32(len(hs)))
	for _, h := range hs {
		b = le.AppendUint64(b, uint64(h.Offset))
		b = le.AppendUint32(b, h.Len)
		b = append(b, h.Type, h.Shard, h.K, h.M, uint8(len(h.Group)), uint8(len(h.UUID)))
		b = le.AppendUint64(b, uint64(h.Epoch))
		b = le.AppendUint64(b, h.Ordinal)
		for _, v := range []uint32{h.CRC, h.Size, h.HeadLen, h.ShardLen} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, h.Group...)
		b = append(b, h.UUID...)
	}
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// decodeFooter returns the headers without their chunk checksums.
func decodeFooter(b []byte, file uint64) ([]*header, error) {
	le := binary.LittleEndian
	if len(b) < 16 || string(b[:4]) != footerMagic || le.Uint32(b[len(b)-4:]) != redoubt.Checksum(b[:len(b)-4]) {
		return nil, corrupt("footer")
	}
	if v := le.Uint16(b[4:]); v != version {
		return nil, fmt.Errorf("footer version %d: %w", v, redoubt.ErrVersion)
	}
	count := int(le.Uint32(b[8:]))
	b = b[12 : len(b)-4]
	if count > len(b)/entryFixed {
		return nil, corrupt("footer count")
	}
	hs := make([]*header, 0, count)
	for range count {
		if len(b) < entryFixed {
			return nil, corrupt("footer entry")
		}
		g, u := int(b[16]), int(b[17])
		if len(b) < entryFixed+g+u {
			return nil, corrupt("footer entry")
		}
		h := &header{Type: b[12], K: b[14], M: b[15], File: file, Offset: int64(le.Uint64(b)), Len: le.Uint32(b[8:]),
			Size: le.Uint32(b[38:]), HeadLen: le.Uint32(b[42:]), ShardLen: le.Uint32(b[46:]), ChunkSize: chunkSize}
		h.ID = ID{Group: redoubt.GroupID(b[entryFixed : entryFixed+g]), UUID: string(b[entryFixed+g : entryFixed+g+u]),
			Epoch: redoubt.Epoch(le.Uint64(b[18:])), Ordinal: le.Uint64(b[26:]), Shard: b[13], CRC: le.Uint32(b[34:])}
		if h.Len > maxHeader || h.HeadLen > MaxHead || h.ShardLen > MaxShard || h.ID.validate() != nil {
			return nil, corrupt("footer entry")
		}
		hs = append(hs, h)
		b = b[entryFixed+g+u:]
	}
	if len(b) != 0 {
		return nil, corrupt("footer length")
	}
	return hs, nil
}

func encodeTrailer(off int64, n int) []byte {
	le := binary.LittleEndian
	b := append([]byte{}, trailerMagic...)
	b = le.AppendUint64(b, uint64(off))
	b = le.AppendUint64(b, uint64(n))
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// readFooter returns the footer of a sealed file; ok is false if f is not sealed.
func readFooter(f vfs.File, file uint64, size int64) (hs []*header, ok bool, err error) {
	if size < sector+trailerLen {
		return nil, false, nil
	}
	t := make([]byte, trailerLen)
	if _, err := f.ReadAt(t, size-trailerLen); err != nil {
		return nil, false, err
	}
	le := binary.LittleEndian
	if string(t[:8]) != trailerMagic || le.Uint32(t[24:]) != redoubt.Checksum(t[:24]) {
		return nil, false, nil
	}
	off, n := le.Uint64(t[8:]), le.Uint64(t[16:])
	if n > maxFooter || off > uint64(size) || off+n+trailerLen != uint64(size) {
		return nil, false, nil
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, int64(off)); err != nil {
		return nil, false, err
	}
	hs, err = decodeFooter(b, file)
	return hs, err == nil, err
}
