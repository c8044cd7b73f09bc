package index

import (
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

func frameLen(b []byte) (int, error) {
	if len(b) < blockHeader {
		return 0, corrupt("short block")
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < blockHeader || n > maxBlock || n > len(b) {
		return 0, corrupt("block length")
	}
	return n, nil
}

func (x *Index) readAt(file uint64, b []byte, off int64) error {
	x.mu.Lock()
	f := x.files[file]
	x.mu.Unlock()
	if f == nil {
		return x.absent()
	}
	err := readFull(f, b, off)
	if err != nil && !errors.Is(err, redoubt.ErrCorrupt) {
		x.mu.Lock()
		f = x.files[file]
		x.mu.Unlock()
		if f == nil {
			return x.absent() // it was removed meanwhile
		}
	}
	return err
}

// absent says why there is no such file.
func (x *Index) absent() error {
	if x.ctx.Err() != nil {
		return redoubt.ErrClosed
	}
	return errMoved
}

func readFull(f vfs.File, b []byte, off int64) error {
	if n, err := f.ReadAt(b, off); n < len(b) {
		if size, serr := f.Size(); serr == nil && off+int64(len(b)) > size {
			return corrupt("run passes the end of the file")
		}
		return vfs.Lost(err)
	}
	return nil
}

type blockKey struct {
	file uint64
	at   int64
}

// block returns the decoded block at place at of the run, from the cache or
// the disk.
func (x *Index) block(r *run, at uint64, n uint32) (*block, error) {
	if n < blockHeader || n > maxBlock || at+uint64(n) > sector+r.bodyLen {
		return nil, corrupt("pointer to a block")
	}
	place := r.off + int64(at)
	return x.blocks.Load(blockKey{r.file, place}, func() (*block, int64, error) {
		b := make([]byte, n)
		if err := x.readAt(r.file, b, place); err != nil {
			return nil, 0, err
		}
		d, err := decodeBlock(b, r.file, place)
		if err != nil {
			return nil, 0, err
		}
		return d, d.size(), nil
	})
}

// scanFile returns the runs that a file lists, or, if it was not sealed or its
// footer does not hold, those that scanRuns finds.
func scanFile(f vfs.File, n uint64) (rs []*run, end int64, sealed bool, err error) {
	size, err := f.Size()
	if err != nil {
		return nil, 0, false, err
	}
	if err := checkHeaderOf(f, n); err != nil {
		return nil, 0, false, err
	}
	sealed, err = listFooter(f, size, func(n int) { rs = make([]*run, 0, n) }, func(r *run) {
		c := *r
		rs = append(rs, &c)
	})
	if sealed || err != nil {
		return rs, size, sealed, err
	}
	rs, end, err = scanRuns(f, n, size)
	return rs, end, false, err
}

// listFooter is eachListed for the footer of a file of that size; sealed is false
// if there is none, or it does not hold: what was told is worth nothing then.
func listFooter(f vfs.File, size int64, count func(n int), fn func(*run)) (sealed bool, err error) {
	foot, ok, err := findFooter(f, size)
	if ok {
		err = vfs.Lost(eachListed(foot, foot.Size(), count, fn))
	}
	if errors.Is(err, redoubt.ErrCorrupt) {
		return false, nil
	}
	return ok && err == nil, err
}

// scanRuns returns the valid run headers of a file, one behind the other, and where
// they end. A bad one ends the scan: the runs behind it are built again.
func scanRuns(f vfs.File, n uint64, size int64) (rs []*run, end int64, err error) {
	end = sector
	h := make([]byte, sector)
	for end+sector <= size {
		var r *run
		err := readFull(f, h, end)
		if err == nil {
			r, _, err = decodeRun(h)
		}
		if err != nil && !errors.Is(err, redoubt.ErrCorrupt) {
			return nil, 0, err
		}
		if err != nil || r.file != n || r.off != end || end+sector+int64(r.bodyLen) > size {
			break
		}
		rs = append(rs, r)
		end += r.total()
	}
	return rs, end, nil
}

func checkHeaderOf(f vfs.File, n uint64) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(sector, size))
	if err := readFull(f, b, 0); err != nil {
		return err
	}
	return checkFileHeader(b, n)
}

// findFooter returns the footer of a sealed file, not read yet; ok is false if
// there is none.
func findFooter(f vfs.File, size int64) (foot *io.SectionReader, ok bool, err error) {
	if size < sector+trailerLen {
		return nil, false, nil
	}
	t := make([]byte, trailerLen)
	if err := readFull(f, t, size-trailerLen); err != nil {
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
	return io.NewSectionReader(f, int64(off), int64(n)), true, nil
}

// file is one that is open. Index.mu guards the rest.
type file struct {
	vfs.File
	sealed bool   // no run comes any more
	weight uint64 // of all runs in it, also of those that another one has replaced
	stale  uint64 // of this, for entries of segments that were gone when it was scrubbed
}

// lane appends runs to files of its own. One goroutine uses it.
type lane struct {
	x     *Index
	f     vfs.File
	file  uint64
	end   int64
	dirty bool
	runs  []*run
}

// add writes the run r of the entries of s and makes it known.
func (l *lane) add(r *run, s stream) error {
	if err := l.write(r, s); err != nil {
		return err
	}
	l.x.learn(r)
	if l.end >= l.x.o.FileSize {
		return l.seal()
	}
	return nil
}

// write writes the run r of the entries of s.
func (l *lane) write(r *run, s stream) error {
	if l.f == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	r.file, r.off = l.file, l.end
	if err := writeRun(l.f, r, s); err != nil {
		// What was written of it stays behind l.end and is overwritten.
		return err
	}
	l.end += r.total()
	l.runs = append(l.runs, r)
	l.dirty = true
	l.x.mu.Lock()
	l.x.files[l.file].weight += r.spot().weight()
	l.x.mu.Unlock()
	return nil
}

func (l *lane) begin() error {
	n := l.x.newNumber()
	name := runFiles.Name(l.x.dir, n)
	f, err := l.x.o.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(encodeFileHeader(n), 0); err == nil {
		err = l.x.o.FS.SyncDir(l.x.dir)
	}
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.file, l.end, l.runs = f, n, sector, nil
	l.x.mu.Lock()
	l.x.files[n] = &file{File: f}
	l.x.mu.Unlock()
	return nil
}

// sync makes the runs durable. It is not needed for safety, only so that a
// crash does not cost the work.
func (l *lane) sync() error {
	if l.f == nil || !l.dirty {
		return nil
	}
	l.dirty = false
	return l.f.Sync()
}

func (l *lane) seal() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f, l.dirty = nil, false
	if err := sealFile(f, l.end, l.runs); err != nil {
		return err
	}
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	if h := l.x.files[l.file]; h != nil { // the index may be closed
		h.sealed = true
	}
	return nil
}

func sealFile(f vfs.File, end int64, rs []*run) error {
	if err := f.Truncate(end); err != nil { // the zeros up to the sector
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	foot := encodeFooter(rs)
	if _, err := f.WritevAt([][]byte{foot, encodeTrailer(end, len(foot))}, end); err != nil {
		return err
	}
	return f.Sync()
}
