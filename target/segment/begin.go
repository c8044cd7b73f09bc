package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// errNoRoom: the file system is full. What was asked for is refused, what is
// stored is as it was, and nothing is latched.
var errNoRoom = errors.New("no room")

// noRoom refuses what needs so many bytes more than there are.
func noRoom(op, name string, bytes int64, err error) error {
	return &redoubt.Error{Op: op, Object: name, Err: fmt.Errorf("%w: %w", errNoRoom, err),
		Hint: fmt.Sprintf("free %d bytes on the node's file system: it goes on by itself, and the missing shards are rebuilt", bytes)}
}

// zeroPiece is the bytes of zeros that one write reserves where the file system
// cannot preallocate.
const zeroPiece = 1 << 20

// begin creates the next file, with all of its space reserved, FileSize or least
// if that is more, and makes its name durable. errNoRoom: there is no space for it;
// it is not there.
func (w *writer) begin(least int64) error {
	n, size := w.number+1, max(w.l.o.FileSize, least)
	name := logFiles.Name(w.l.dir, n)
	f, err := w.l.createFile(name, n, size)
	if vfs.IsNoSpace(err) {
		if rerr := w.l.o.FS.Remove(name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) { // nothing is in it
			return errors.Join(err, rerr)
		}
		return noRoom("make shard log file", name, size, err)
	} else if err != nil {
		return err
	}
	w.f, w.number, w.end, w.room, w.listed = &logFile{File: f, number: n}, n, sector, size, nil
	w.durable.Store(sector)
	w.openDirect(name)
	w.l.mu.Lock()
	w.l.files[n] = w.f
	w.l.mu.Unlock()
	return nil
}

// createFile makes an empty file of the log with room for size bytes. After an
// error a part of it may be there.
func (l *Log) createFile(name string, n uint64, size int64) (vfs.File, error) {
	f, err := l.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err = reserve(f, size); err == nil {
		_, err = f.WriteAt(encodeFileHeader(n), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.o.FS.SyncDir(l.dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// reserve takes the space of the first size bytes of an empty file. Where the file
// system cannot do that at once (ext2, ext3, some network file systems) zeros are
// written: with a hole it would be a batch that finds no space, too late.
func reserve(f vfs.File, size int64) error {
	err := f.Allocate(0, size)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, min(size, zeroPiece))
	for off := int64(0); off < size; off += zeroPiece {
		if _, err := f.WriteAt(zeros[:min(zeroPiece, size-off)], off); err != nil {
			return err
		}
	}
	return nil
}
