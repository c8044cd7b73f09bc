package oracle

import (
	"bytes"
	"io"
	"os"

	"github.com/redoubt-dr/redoubt"
	"golang.org/x/sys/unix"
)

// copySparse makes dst, an empty file, a copy of the file at path of size
// bytes; blocks of zeros become holes.
func copySparse(dst *os.File, path string, size uint64) error {
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	if err := dst.Truncate(int64(size)); err != nil {
		return err
	}
	w := &SparseWriter{F: dst}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(src, int64(size)), make([]byte, 1<<20))
	return err
}

// zeroFile makes an extent of a file read as zeros, as a hole where the file
// system can.
func zeroFile(f *os.File, e redoubt.Extent) error {
	if e.Empty() {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(e.Off), int64(e.Len))
	if err == nil {
		return nil
	}
	zeros := make([]byte, min(e.Len, 1<<20))
	for off := e.Off; off < e.End(); {
		n := min(uint64(len(zeros)), e.End()-off)
		if _, err := f.WriteAt(zeros[:n], int64(off)); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// SparseWriter writes a stream into a file of the right size already, leaving
// out what is all zero: for new or truncated files only.
type SparseWriter struct {
	F   *os.File
	off int64
}

var zeroBlock [64 << 10]byte

// Write writes p after what was written before.
func (w *SparseWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		part := p[done:min(done+len(zeroBlock), len(p))]
		if !bytes.Equal(part, zeroBlock[:len(part)]) {
			if _, err := w.F.WriteAt(part, w.off); err != nil {
				return done, err
			}
		}
		done += len(part)
		w.off += int64(len(part))
	}
	return len(p), nil
}
