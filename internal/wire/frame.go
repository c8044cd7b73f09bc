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
	sum := uint32(0)
	for _, p := range parts {
		sum = redoubt.ChecksumUpdate(sum, p)
	}
	return WriteSummed(w, typ, sum, parts...)
}

// Corker is a writer that can hold back what it is given and pass it on in
// larger pieces: from Cork to Uncork, which returns the first error of both.
type Corker interface {
	Cork()
	Uncork() error
}

// WriteSummed is WriteFrame for a body whose CRC32C is known: it does not look
// at the bytes. If they are not those of which sum was made, the reader finds
// out. A large frame is passed to a Corker in one go.
func WriteSummed(w io.Writer, typ uint8, sum uint32, parts ...[]byte) (err error) {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if uint64(total) > uint64(^uint32(0)) {
		return &redoubt.Error{Op: "write frame", Err: fmt.Errorf("body of %d bytes: %w", total, redoubt.ErrInvalid)}
	}
	small := total <= coalesce
	room := HeaderLen
	if small {
		room += total
	}
	buf := make([]byte, HeaderLen, room)
	binary.LittleEndian.PutUint32(buf, uint32(total))
	buf[4] = typ
	binary.LittleEndian.PutUint32(buf[8:], redoubt.ChecksumJoin(redoubt.Checksum(buf[:8]), sum, int64(total)))
	if small {
		for _, p := range parts {
			buf = append(buf, p...)
		}
		_, err := w.Write(buf)
		return err
	}
	if c, ok := w.(Corker); ok {
		c.Cork()
		defer func() {
			if e := c.Uncork(); err == nil {
				err = e
			}
		}()
	}
	if _, err := w.Write(buf); err != nil {
		return err
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
	// Take, if set, gives the memory of a body of n bytes.
	Take func(n int) []byte
	// Sum is the CRC32C of the body that Next returned.
	Sum uint32
	hdr [HeaderLen]byte
}

// Next reads one frame; body is fresh memory, or that of Take. At the clean end of the stream it
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
	if r.Take != nil {
		body = r.Take(int(n))
	} else {
		body = make([]byte, n)
	}
	r.Sum = 0
	for got := 0; got < len(body); {
		m, err := r.R.Read(body[got:])
		// Summed piece by piece, while it is in the processor's cache.
		r.Sum = redoubt.ChecksumUpdate(r.Sum, body[got:got+m])
		if got += m; err != nil && got < len(body) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
	}
	if crc := redoubt.ChecksumJoin(redoubt.Checksum(r.hdr[:8]), r.Sum, int64(n)); crc != binary.LittleEndian.Uint32(r.hdr[8:]) {
		return 0, nil, &redoubt.Error{Op: "read frame", Err: fmt.Errorf("checksum of a frame of type %d and %d bytes: %w", typ, n, redoubt.ErrCorrupt)}
	}
	return typ, body, nil
}
