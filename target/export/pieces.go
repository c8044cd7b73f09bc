package export

import (
	"errors"
	"fmt"
	"os"

	"github.com/redoubt-dr/redoubt"
	"golang.org/x/sys/unix"
)

// pieceSize is how many bytes of a disk one sparse file holds: ext4 has no
// file of 16 TiB.
const pieceSize = 8 << 40

// pieces is a sparse file in several parts: path, path.1, path.2 and so on.
type pieces struct {
	each  uint64 // bytes of all files but the last
	files []*os.File
}

func openPieces(path string, size uint64) (*pieces, error) {
	p := &pieces{each: pieceSize}
	if fi, err := os.Stat(path); err == nil && fi.Size() > pieceSize {
		p.each = redoubt.MaxDiskSize // made before there were pieces
	}
	for at := uint64(0); at < size || at == 0; at += p.each {
		name := path
		if at > 0 {
			name = fmt.Sprintf("%s.%d", path, at/p.each)
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		p.files = append(p.files, f)
		if err := f.Truncate(int64(min(size-at, p.each))); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// parts calls fn for the parts of [off, off+n); done is where the part
// begins in the range.
func (p *pieces) parts(off, n uint64, fn func(f *os.File, at int64, done, n uint64) error) error {
	for done := uint64(0); done < n; {
		i := (off + done) / p.each
		at := (off + done) % p.each
		part := min(n-done, p.each-at)
		if i >= uint64(len(p.files)) {
			return redoubt.ErrOutOfRange
		}
		if err := fn(p.files[i], int64(at), done, part); err != nil {
			return err
		}
		done += part
	}
	return nil
}

func (p *pieces) ReadAt(b []byte, off uint64) error {
	return p.parts(off, uint64(len(b)), func(f *os.File, at int64, done, n uint64) error {
		_, err := f.ReadAt(b[done:done+n], at)
		return err
	})
}

func (p *pieces) WriteAt(b []byte, off uint64) error {
	return p.parts(off, uint64(len(b)), func(f *os.File, at int64, done, n uint64) error {
		_, err := f.WriteAt(b[done:done+n], at)
		return err
	})
}

// Punch makes e read as zeros and gives its space back; unix.EOPNOTSUPP if the
// file system cannot.
func (p *pieces) Punch(e redoubt.Extent) error {
	return p.parts(e.Off, e.Len, func(f *os.File, at int64, _, n uint64) error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at, int64(n))
	})
}

// Sync makes all parts durable. After a failure the caller must not try again.
func (p *pieces) Sync() error {
	var err error
	for _, f := range p.files {
		err = errors.Join(err, unix.Fdatasync(int(f.Fd())))
	}
	return err
}

// Name returns the path of the first part.
func (p *pieces) Name() string { return p.files[0].Name() }

func (p *pieces) Close() error {
	var err error
	for _, f := range p.files {
		err = errors.Join(err, f.Close())
	}
	return err
}
