package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"golang.org/x/sys/unix"
)

// The allocation log says which blocks of an overlay's data file are its own.
// It is a header and then batches, each appended and synced by Overlay.Sync:
//
//	header  0        8         12        16
//	        +--------+---------+---------+
//	        |RDOVERLY| version | crc32c  |   little endian; crc over the bytes before it
//	        +--------+---------+---------+
//	batch   0        4         8         16        20
//	        +--------+---------+---------+---------+------------------------+
//	        | "RDOB" | runs n  | offset  | crc32c  | n x (first u64, n u64) |
//	        +--------+---------+---------+---------+------------------------+
//	        offset: of the batch in the file; crc over batch without the crc field
//
// The next batch is written only after the sync of the one before. So a bad
// batch at the end was never acknowledged and is cut off, and a bad batch with
// a good one behind it is damage, and is reported.
const (
	allocMagic   = "RDOVERLY"
	allocVersion = 1
	allocHeader  = 16
	batchMagic   = "RDOB"
	batchHeader  = 20
	batchRun     = 16
	// allocMaxBlock bounds what a run may claim: the largest disk.
	allocMaxBlock = redoubt.MaxDiskSize / overlayBlock
)

type allocLog struct {
	f   *os.File
	end int64
}

func openAllocLog(path string) (*allocLog, *roaring64.Bitmap, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	if len(b) < allocHeader { // new, or a crash while it was made: it holds nothing yet
		l := &allocLog{f: f, end: allocHeader}
		if err := l.begin(path); err != nil {
			return nil, nil, errors.Join(err, f.Close())
		}
		return l, roaring64.New(), nil
	}
	own, end, err := parseAllocLog(b)
	if err != nil {
		return nil, nil, errors.Join(&redoubt.Error{Op: "open overlay", Object: path, Err: err}, f.Close())
	}
	if err := f.Truncate(end); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &allocLog{f: f, end: end}, own, nil
}

func (l *allocLog) begin(path string) error {
	h := make([]byte, 0, allocHeader)
	h = append(h, allocMagic...)
	h = binary.LittleEndian.AppendUint32(h, allocVersion)
	h = binary.LittleEndian.AppendUint32(h, redoubt.Checksum(h))
	if _, err := l.f.WriteAt(h, 0); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	return vfs.OS.SyncDir(filepath.Dir(path))
}

// parseAllocLog reads a log and returns where its last whole batch ends.
func parseAllocLog(b []byte) (own *roaring64.Bitmap, end int64, err error) {
	if len(b) < allocHeader || string(b[:8]) != allocMagic || redoubt.Checksum(b[:12]) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, 0, fmt.Errorf("%w: no allocation log", redoubt.ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > allocVersion {
		return nil, 0, fmt.Errorf("%w: version %d", redoubt.ErrVersion, v)
	}
	own = roaring64.New()
	at := allocHeader
	for {
		n := parseBatch(b, at, own)
		if n == 0 {
			break
		}
		at += n
	}
	for i := at + 1; i+batchHeader <= len(b); i++ {
		if string(b[i:i+4]) == batchMagic && parseBatch(b, i, roaring64.New()) > 0 {
			return nil, 0, fmt.Errorf("%w: a synced batch at byte %d is damaged", redoubt.ErrCorrupt, at)
		}
	}
	return own, int64(at), nil
}

// parseBatch adds the batch at b[at:] to own and returns its length, or 0 if
// there is no whole batch.
func parseBatch(b []byte, at int, own *roaring64.Bitmap) int {
	if len(b)-at < batchHeader || string(b[at:at+4]) != batchMagic {
		return 0
	}
	h := b[at:]
	n := int(binary.LittleEndian.Uint32(h[4:]))
	if n > (len(h)-batchHeader)/batchRun || binary.LittleEndian.Uint64(h[8:]) != uint64(at) {
		return 0
	}
	body := h[batchHeader : batchHeader+n*batchRun]
	if redoubt.ChecksumUpdate(redoubt.Checksum(h[:16]), body) != binary.LittleEndian.Uint32(h[16:]) {
		return 0
	}
	for r := body; len(r) > 0; r = r[batchRun:] {
		first, count := binary.LittleEndian.Uint64(r), binary.LittleEndian.Uint64(r[8:])
		if first > allocMaxBlock || count > allocMaxBlock-first {
			return 0
		}
		own.AddRange(first, first+count)
	}
	return batchHeader + len(body)
}

// append makes the blocks durable in the log.
func (l *allocLog) append(blocks *roaring64.Bitmap) error {
	if blocks.IsEmpty() {
		return nil
	}
	b := make([]byte, batchHeader)
	emit := func(first, count uint64) {
		b = binary.LittleEndian.AppendUint64(b, first)
		b = binary.LittleEndian.AppendUint64(b, count)
	}
	it := blocks.Iterator()
	first, count := it.Next(), uint64(1)
	for it.HasNext() {
		if n := it.Next(); n == first+count {
			count++
		} else {
			emit(first, count)
			first, count = n, 1
		}
	}
	emit(first, count)
	copy(b, batchMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32((len(b)-batchHeader)/batchRun))
	binary.LittleEndian.PutUint64(b[8:], uint64(l.end))
	binary.LittleEndian.PutUint32(b[16:], redoubt.ChecksumUpdate(redoubt.Checksum(b[:16]), b[batchHeader:]))
	if _, err := l.f.WriteAt(b, l.end); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(l.f.Fd())); err != nil {
		return err
	}
	l.end += int64(len(b))
	return nil
}

func (l *allocLog) close() error { return l.f.Close() }
