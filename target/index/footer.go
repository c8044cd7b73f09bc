package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/redoubt-dr/redoubt"
)

// footerHead is the bytes of a footer in front of its runs.
const footerHead = 12

// footerPiece is how much of a footer is in memory at once, in bytes: all
// footers of a long history are many megabytes, and memory that is new to the
// program costs more than reading and decoding them.
const footerPiece = 128 << 10

func encodeFooter(rs []*run) []byte {
	le := binary.LittleEndian
	b := append([]byte{}, footerMagic...)
	b = le.AppendUint16(b, version)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, uint32(len(rs)))
	for _, r := range rs {
		b = append(b, r.encode()...)
	}
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// eachListed reads a footer of size bytes: it calls count with the number of its
// runs, and fn for each of them; fn must not keep it. The checksum comes last: after
// an error what was told is worth nothing.
func eachListed(in io.Reader, size int64, count func(n int), fn func(*run)) error {
	le := binary.LittleEndian
	if size < footerHead+4 {
		return corrupt("footer")
	}
	sum := &summed{r: in, left: size - 4}
	r := bufio.NewReaderSize(sum, int(min(size, footerPiece)))
	head, err := r.Peek(footerHead)
	if err != nil {
		return cutShort(err)
	}
	if string(head[:4]) != footerMagic {
		return corrupt("footer")
	}
	v, n := le.Uint16(head[4:]), int64(le.Uint32(head[8:]))
	if v == version && n > (size-footerHead-4)/(runFixed+4) {
		return corrupt("footer count")
	}
	_, _ = r.Discard(footerHead) // they are there
	var fault error              // is one of the program that wrote it only if the checksum is right
	if v == version {
		count(int(n))
		if fault = eachOf(r, n, fn); fault != nil && !errors.Is(fault, redoubt.ErrCorrupt) && !errors.Is(fault, redoubt.ErrVersion) {
			return fault
		}
	}
	// What is left is covered by the checksum, too.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	var end [4]byte
	if _, err := io.ReadFull(in, end[:]); err != nil {
		return cutShort(err)
	}
	if le.Uint32(end[:]) != sum.crc {
		return corrupt("footer")
	}
	if v != version {
		return fmt.Errorf("footer version %d: %w", v, redoubt.ErrVersion)
	}
	return fault
}

// eachOf decodes n run headers.
func eachOf(r *bufio.Reader, n int64, fn func(*run)) error {
	var one run
	for range n {
		b, err := r.Peek(maxRunHeader)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return cutShort(err)
		}
		length, err := runLen(b)
		if err != nil {
			return err
		}
		if _, err := one.decodeChecked(b, length); err != nil {
			return err
		}
		fn(&one)
		_, _ = r.Discard(length + 4) // they are there
	}
	return nil
}

// summed sums what is read of the next left bytes, and ends there.
type summed struct {
	r    io.Reader
	left int64
	crc  uint32
}

func (s *summed) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.r.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	s.crc = redoubt.ChecksumUpdate(s.crc, p[:n])
	if errors.Is(err, io.EOF) && s.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("footer cut short")
	}
	return err
}
