package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/redoubt-dr/redoubt"
)

// HeaderLen is the size of a frame's header in bytes.
//
//	 0        4    5         8         12
//	+--------+----+---------+---------+----------------+
//	| length |type| zero x3 | crc32c  | body (length)  |
//	+--------+----+---------+---------+----------------+
//
// Numbers are little-endian. The checksum covers bytes 0..8 and the body, so a
// flipped length or type is found as surely as a flipped body.
const HeaderLen = 12

// coalesce is the size up to which header and body are copied together, so that
// a small frame is one TLS record and one system call.
const coalesce = 32 << 10

// WriteFrame writes one frame whose body is the concatenation of parts. It does
// not keep parts. After an error the stream is unusable. It is not safe for
// concurrent use of one writer.
func WriteFrame(w io.Writer, typ uint8, parts ...[]byte) error {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if uint64(total) > uint64(^uint32(0)) {
		return &redoubt.Error{Op: "write frame", Err: fmt.Errorf("body of %d bytes: %w", total, redoubt.ErrInvalid)}
	}
	small := total <= coalesce
	buf := make([]byte, HeaderLen, HeaderLen+min(total, coalesce))
	binary.LittleEndian.PutUint32(buf, uint32(total))
	buf[4] = typ
	crc := redoubt.Checksum(buf[:8])
	for _, p := range parts {
		crc = redoubt.ChecksumUpdate(crc, p)
		if small {
			buf = append(buf, p...)
		}
	}
	binary.LittleEndian.PutUint32(buf[8:], crc)
	if _, err := w.Write(buf); err != nil {
		return err
	}
	if small {
		return nil
	}
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// Reader reads frames. It is for one goroutine.
type Reader struct {
	R   io.Reader
	Max int // largest body in bytes that is accepted; checked before memory is taken
	hdr [HeaderLen]byte
}

// Next reads one frame; body is fresh memory. At the clean end of the stream it
// returns io.EOF; a stream cut inside of a frame gives io.ErrUnexpectedEOF; a
// frame that is too long or damaged gives redoubt.ErrCorrupt. After an error the
// stream is unusable.
func (r *Reader) Next() (typ uint8, body []byte, err error) {
	if _, err := io.ReadFull(r.R, r.hdr[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(r.hdr[:])
	typ = r.hdr[4]
	if int64(n) > int64(r.Max) {
		return 0, nil, &redoubt.Error{Op: "read frame", Err: fmt.Errorf("length %d is over the limit of %d: %w", n, r.Max, redoubt.ErrCorrupt)}
	}
	if r.hdr[5]|r.hdr[6]|r.hdr[7] != 0 {
		return 0, nil, &redoubt.Error{Op: "read frame", Err: fmt.Errorf("reserved bytes are set: %w", redoubt.ErrCorrupt)}
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r.R, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	crc := redoubt.ChecksumUpdate(redoubt.Checksum(r.hdr[:8]), body)
	if crc != binary.LittleEndian.Uint32(r.hdr[8:]) {
		return 0, nil, &redoubt.Error{Op: "read frame", Err: fmt.Errorf("checksum of a frame of type %d and %d bytes: %w", typ, n, redoubt.ErrCorrupt)}
	}
	return typ, body, nil
}
