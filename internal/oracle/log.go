package oracle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redoubt-dr/redoubt"
)

// The change log, one file for each epoch, little endian:
//
//	file    +--------------------+---------------+
//	        | magic "RDTORACL" 8 | version u32 = 1 |
//	        +--------------------+---------------+
//	record  +------+------+------+------+------+------+-------+-------+-----+---------+
//	        | len  | disk | kind | flag | off  | n    | sent  | acked | crc | data    |
//	        | u32  | u16  | u8   | u8   | u64  | u64  | i64   | i64   | u32 | len B   |
//	        +------+------+------+------+------+------+-------+-------+-----+---------+
//
// crc is the CRC32C of the header before it and of the data. flag bit 0 marks
// a change whose answer never came.
const (
	logMagic   = "RDTORACL"
	logVersion = 1
	logFileHdr = 12
	logRecHdr  = 4 + 2 + 1 + 1 + 8 + 8 + 8 + 8 + 4
	flagMaybe  = 1
)

// Change is one change of a disk, as the relay saw it. Acked is zero for a
// change whose answer never came: it may be there or not.
type Change struct {
	Disk        redoubt.DiskID
	Kind        redoubt.Kind // KindWrite, KindZero or KindTrim
	Extent      redoubt.Extent
	Sent, Acked int64 // Unix nanoseconds
	dataAt      int64 // place of the data in the log file
}

// Maybe reports whether the answer never came.
func (c *Change) Maybe() bool { return c.Acked == 0 }

func appendRecord(b []byte, c *Change, data []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Disk))
	flag := byte(0)
	if c.Maybe() {
		flag = flagMaybe
	}
	b = append(b, byte(c.Kind), flag)
	b = binary.LittleEndian.AppendUint64(b, c.Extent.Off)
	b = binary.LittleEndian.AppendUint64(b, c.Extent.Len)
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Sent))
	b = binary.LittleEndian.AppendUint64(b, uint64(c.Acked))
	crc := redoubt.ChecksumUpdate(redoubt.Checksum(b[start:]), data)
	return append(binary.LittleEndian.AppendUint32(b, crc), data...)
}

// createLog makes an empty change log.
func createLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(binary.LittleEndian.AppendUint32([]byte(logMagic), logVersion)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadLog calls fn for each change of a change log, verifying it. data is
// valid during the call only. A log cut off within a record gives
// redoubt.ErrCorrupt after the whole ones.
func ReadLog(r io.Reader, fn func(c Change, data []byte) error) error {
	br := bufio.NewReaderSize(r, 1<<20)
	var fh [logFileHdr]byte
	if _, err := io.ReadFull(br, fh[:]); err != nil || string(fh[:8]) != logMagic {
		return logError("not a change log", redoubt.ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(fh[8:]); v != logVersion {
		return logError(fmt.Sprintf("version %d", v), redoubt.ErrVersion)
	}
	var h [logRecHdr]byte
	data := make([]byte, redoubt.MaxWriteData)
	for at := int64(logFileHdr); ; {
		if _, err := io.ReadFull(br, h[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return logError("cut off", redoubt.ErrCorrupt)
		}
		n := binary.LittleEndian.Uint32(h[:])
		if n > redoubt.MaxWriteData {
			return logError("a record is too long", redoubt.ErrCorrupt)
		}
		if _, err := io.ReadFull(br, data[:n]); err != nil {
			return logError("cut off", redoubt.ErrCorrupt)
		}
		crc := redoubt.ChecksumUpdate(redoubt.Checksum(h[:logRecHdr-4]), data[:n])
		if crc != binary.LittleEndian.Uint32(h[logRecHdr-4:]) {
			return logError(fmt.Sprintf("checksum at byte %d", at), redoubt.ErrCorrupt)
		}
		c := Change{
			Disk:   redoubt.DiskID(binary.LittleEndian.Uint16(h[4:])),
			Kind:   redoubt.Kind(h[6]),
			Extent: redoubt.Extent{Off: binary.LittleEndian.Uint64(h[8:]), Len: binary.LittleEndian.Uint64(h[16:])},
			Sent:   int64(binary.LittleEndian.Uint64(h[24:])),
			Acked:  int64(binary.LittleEndian.Uint64(h[32:])),
			dataAt: at + logRecHdr,
		}
		if err := fn(c, data[:n]); err != nil {
			return err
		}
		at += logRecHdr + int64(n)
	}
}

func logError(what string, err error) error {
	return &redoubt.Error{Op: "read change log", Err: fmt.Errorf("%s: %w", what, err)}
}
