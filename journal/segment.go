package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// segment is one use of a segment file. Fields without a remark are fixed
// while the segment is in use.
type segment struct {
	file vfs.File
	slot int // number in the file's name
	size int64
	seq  uint64

	w extent // what is written; guarded by Journal.appendMu
	p extent // what is published to readers and syncs; guarded by Journal.mu

	// Guarded by Journal.mu:
	synced extent // the part of p that is durable
	dirty  bool   // in Journal.dirty
	rolled bool   // takes no more batches
	sealed bool   // has a footer, so everything in it is durable
	live   bool   // in Journal.chain
	pins   int    // readers; a pinned segment is not reused
}

// limit is the first byte that batches must not reach.
func (s *segment) limit() int64 { return s.size - pageSize }

// spacing is the least distance of marks, so that they fit into a footer.
func spacing(size int64) int64 { return max(size/(maxMarks-4), pageSize) }

func segmentName(dir string, slot int) string {
	return filepath.Join(dir, "seg-"+fmt.Sprintf("%06d", slot))
}

// segmentSlot reads the number from a file's name.
func segmentSlot(name string) (int, bool) {
	s, ok := strings.CutPrefix(name, "seg-")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}

// zeroChunk is how much is pre-written at a time, in bytes. The page cache makes
// folios of that size of it, and ext4 walks all blocks of a folio for each write
// into it: a megabyte doubles the cost of a small append.
const zeroChunk = 64 << 10

// zeroPiece is how much of a file of size bytes is pre-written at a time. A
// small file is written at once: it is over before its folios cost anything.
func zeroPiece(size int64) int64 {
	if size < 4<<20 {
		return size
	}
	return zeroChunk
}

// createSegmentFile makes a file of zeros that are really written, so that
// later writes and syncs into it change no metadata. zeros has zeroPiece(size)
// bytes; with nil the space is reserved only, which takes no time.
func createSegmentFile(fsys vfs.FS, dir string, slot int, size int64, zeros []byte) (vfs.File, error) {
	name := segmentName(dir, slot)
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err = f.Allocate(0, size); errors.Is(err, errors.ErrUnsupported) {
		err = nil // the zeros reserve the space as well, only more slowly
		if zeros == nil {
			zeros = make([]byte, zeroPiece(size))
		}
	}
	for off := int64(0); off < size && err == nil && zeros != nil; off += int64(len(zeros)) {
		err = writeFull(f, zeros[:min(int64(len(zeros)), size-off)], off)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		f.Close()
		// Best effort: a partial file would keep space that is short; an open clears it too.
		_ = fsys.Remove(name)
		return nil, err
	}
	return f, nil
}

// preallocate makes the segment files that are still missing. Nobody else uses
// the journal yet.
func (j *Journal) preallocate() error {
	zeros := make([]byte, zeroPiece(j.segmentSize()))
	for j.files < j.maxFiles() {
		f, err := createSegmentFile(j.fs, j.dir, j.slots, j.segmentSize(), zeros)
		if err != nil {
			return &redoubt.Error{Op: "reserve journal", Object: j.dir, Err: err,
				Hint: fmt.Sprintf("it has %d of %d segments of %d bytes: free space, or lower the journal's maximum", j.files, j.maxFiles(), j.segmentSize())}
		}
		j.free = append(j.free, &segment{file: f, slot: j.slots, size: j.segmentSize()})
		j.slots++
		j.files++
	}
	return nil
}

func readFull(f vfs.File, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func writeFull(f vfs.File, p []byte, off int64) error {
	n, err := f.WriteAt(p, off)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	return err
}
