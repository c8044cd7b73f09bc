package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A dirty map is kept in a file of its own, to which each change is appended.
// The facts say which file it is and how many of its bytes count: what lies
// behind them was never vouched for.
//
//	+------------------+-------------+------------+---------------+------------+------+
//	| magic "RDBTDRTY" | version u32 | number u32 | journal id 16 | CRC32C u32 | zero |
//	+------------------+-------------+------------+---------------+------------+------+
//	0                  8             12           16              32           36     64
//
//	change, one after the other; the CRC covers the rest of it and its place:
//	+------------+------------+---------+----------+----------+-------------------+
//	| length u32 | CRC32C u32 | kind u8 | zero u8  | disk u16 | blocks: roaring   |
//	+------------+------------+---------+----------+----------+-------------------+
//	0            4            8         9          10         12           12+length
//
// kind 1 adds the blocks, kind 2 takes them away. Blocks are a roaring bitmap in
// the portable format of 4 KiB block numbers (github.com/RoaringBitmap/RoaringFormatSpec).
const (
	magicDirty   = "RDBTDRTY"
	dirtyVersion = 1
	dirtyHeader  = 64
	changeHead   = 12
	changeAdd    = 1
	changeRemove = 2
	// dirtyMaxFile bounds what is read: changes are rewritten long before.
	dirtyMaxFile = 4 << 30
	// dirtySlack is how far a file may outgrow the map that is in it, beyond
	// twice its size, before it is rewritten.
	dirtySlack = 1 << 20
)

func dirtyName(dir string, number uint32) string {
	return filepath.Join(dir, "dirty-"+strconv.FormatUint(uint64(number), 10))
}

// isDirtyName returns the number of a dirty map's file.
func isDirtyName(name string) (uint32, bool) {
	s, ok := strings.CutPrefix(name, "dirty-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

func encodeDirtyHead(id journalID, number uint32) []byte {
	b := make([]byte, dirtyHeader)
	copy(b, magicDirty)
	le.PutUint32(b[8:], dirtyVersion)
	le.PutUint32(b[12:], number)
	copy(b[16:], id[:])
	le.PutUint32(b[32:], redoubt.Checksum(b[:32]))
	return b
}

// appendChange appends the change of one disk's blocks; off is where b will lie.
func appendChange(b []byte, off int64, kind uint8, d redoubt.DiskID, blocks *roaring.Bitmap) ([]byte, error) {
	at := len(b)
	body, err := blocks.ToBytes()
	if err != nil {
		return nil, err
	}
	head := make([]byte, changeHead)
	le.PutUint32(head, uint32(len(body)))
	head[8] = kind
	le.PutUint16(head[10:], uint16(d))
	b = append(append(b, head...), body...)
	le.PutUint32(b[at+4:], changeSum(b[at:], off+int64(at)))
	return b, nil
}

// changeSum is the checksum of a change at off.
func changeSum(b []byte, off int64) uint32 {
	place := le.AppendUint64(nil, uint64(off))
	return redoubt.ChecksumUpdate(redoubt.ChecksumUpdate(redoubt.Checksum(place), b[:4]), b[8:])
}

// encodeChanges returns the changes of all disks, in their order.
func encodeChanges(off int64, kind uint8, m blockMap) (b []byte, err error) {
	disks := make([]redoubt.DiskID, 0, len(m))
	for d, blocks := range m {
		if !blocks.IsEmpty() {
			disks = append(disks, d)
		}
	}
	slices.Sort(disks)
	for _, d := range disks {
		m[d].RunOptimize()
		if b, err = appendChange(b, off, kind, d, m[d]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// decodeDirty reads a dirty map, all of whose bytes count.
func decodeDirty(b []byte, id journalID, number uint32) (blockMap, error) {
	bad := func(format string, a ...any) (blockMap, error) {
		return nil, fmt.Errorf("dirty map: "+format+": %w", append(a, redoubt.ErrCorrupt)...)
	}
	if len(b) < dirtyHeader || string(b[:8]) != magicDirty || le.Uint32(b[32:]) != redoubt.Checksum(b[:32]) {
		return bad("no header")
	}
	if v := le.Uint32(b[8:]); v != dirtyVersion {
		return nil, fmt.Errorf("dirty map of version %d: %w", v, redoubt.ErrVersion)
	}
	if le.Uint32(b[12:]) != number || journalID(b[16:32]) != id {
		return bad("it is another one's")
	}
	m := blockMap{}
	for at := dirtyHeader; at < len(b); {
		c := b[at:]
		if len(c) < changeHead || uint64(le.Uint32(c)) > uint64(len(c)-changeHead) {
			return bad("cut short at byte %d", at)
		}
		n := changeHead + int(le.Uint32(c))
		if c = c[:n]; le.Uint32(c[4:]) != changeSum(c, int64(at)) {
			return bad("checksum at byte %d", at)
		}
		blocks := roaring.New()
		if _, err := blocks.FromUnsafeBytes(slices.Clone(c[changeHead:])); err != nil {
			return bad("at byte %d: %v", at, err)
		}
		if err := blocks.Validate(); err != nil {
			return bad("at byte %d: %v", at, err)
		}
		d := redoubt.DiskID(le.Uint16(c[10:]))
		switch {
		case d == 0:
			return bad("disk 0 at byte %d", at)
		case c[8] == changeAdd:
			m.disk(d).Or(blocks)
		case c[8] == changeRemove:
			m.disk(d).AndNot(blocks)
		default:
			return bad("kind %d at byte %d", c[8], at)
		}
		at += n
	}
	return m, nil
}

// dirtyFile appends to a dirty map's file. It is used by one goroutine at a time.
type dirtyFile struct {
	fs     vfs.FS
	dir    string
	id     journalID
	file   vfs.File
	number uint32
	end    int64 // bytes that count
}

// newDirtyFile makes the file with that number and puts m into it, durably.
func newDirtyFile(fsys vfs.FS, dir string, id journalID, number uint32, m blockMap) (_ *dirtyFile, err error) {
	f, err := fsys.OpenFile(dirtyName(dir, number), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	x := &dirtyFile{fs: fsys, dir: dir, id: id, file: f, number: number}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), fsys.Remove(f.Name()))
		}
	}()
	b := encodeDirtyHead(id, number)
	body, err := encodeChanges(dirtyHeader, changeAdd, m)
	if err != nil {
		return nil, err
	}
	if err := x.put(append(b, body...)); err != nil {
		return nil, err
	}
	return x, fsys.SyncDir(dir)
}

// openDirtyFile reads the map in the first end bytes of the file.
func openDirtyFile(fsys vfs.FS, dir string, id journalID, number uint32, end int64, flag int) (*dirtyFile, blockMap, error) {
	f, err := fsys.OpenFile(dirtyName(dir, number), flag, 0o600)
	if err != nil {
		return nil, nil, err
	}
	if end < dirtyHeader || end > dirtyMaxFile {
		return nil, nil, errors.Join(fmt.Errorf("dirty map of %d bytes: %w", end, redoubt.ErrCorrupt), f.Close())
	}
	size, err := f.Size()
	if err == nil && size < end {
		err = fmt.Errorf("dirty map of %d bytes, %d count: %w", size, end, redoubt.ErrCorrupt)
	}
	var m blockMap
	if err == nil {
		b := make([]byte, end)
		if err = readFull(f, b, 0); err == nil {
			m, err = decodeDirty(b, id, number)
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &dirtyFile{fs: fsys, dir: dir, id: id, file: f, number: number, end: end}, m, nil
}

// add appends the change of m, durably. It counts once the facts say so.
func (x *dirtyFile) add(kind uint8, m blockMap) error {
	b, err := encodeChanges(x.end, kind, m)
	if err != nil || len(b) == 0 {
		return err
	}
	return x.put(b)
}

func (x *dirtyFile) put(b []byte) error {
	if err := writeFull(x.file, b, x.end); err != nil {
		return err
	}
	if err := x.file.Sync(); err != nil {
		return err
	}
	x.end += int64(len(b))
	return nil
}

// large reports whether the file should be rewritten, for a map of that size.
func (x *dirtyFile) large(m blockMap, slack int64) bool {
	size := uint64(0)
	for _, b := range m {
		size += b.GetSerializedSizeInBytes()
	}
	return uint64(x.end) > 2*size+uint64(slack)
}

// remove closes the file and takes it away.
func (x *dirtyFile) remove() error {
	return errors.Join(x.file.Close(), x.fs.Remove(x.file.Name()), x.fs.SyncDir(x.dir))
}
