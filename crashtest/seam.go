package crashtest

import (
	"errors"
	"io/fs"
	"os"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// errShort makes a write return fewer bytes than it was given, without an error.
var errShort = errors.New("short write")

// seamFS is the journal's disk: a vfs.Mem whose changes go through a power.
type seamFS struct {
	mem *vfs.Mem
	p   *power
}

func (s *seamFS) change(fn func() error) error { return s.p.do(step{whole: fn}) }

func (s *seamFS) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	var f vfs.File
	open := func() (err error) { f, err = s.mem.OpenFile(name, flag, perm); return err }
	var err error
	if flag&os.O_CREATE != 0 {
		err = s.change(open)
	} else {
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return &seamFile{File: f, s: s}, nil
}

func (s *seamFS) MkdirAll(name string, perm os.FileMode) error {
	return s.change(func() error { return s.mem.MkdirAll(name, perm) })
}

func (s *seamFS) Remove(name string) error {
	return s.change(func() error { return s.mem.Remove(name) })
}

func (s *seamFS) RemoveAll(name string) error {
	return s.change(func() error { return s.mem.RemoveAll(name) })
}

func (s *seamFS) Rename(o, n string) error {
	return s.change(func() error { return s.mem.Rename(o, n) })
}

func (s *seamFS) SyncDir(name string) error {
	return s.change(func() error { return s.mem.SyncDir(name) })
}

func (s *seamFS) ReadDir(name string) ([]fs.DirEntry, error) { return s.mem.ReadDir(name) }
func (s *seamFS) Stat(name string) (fs.FileInfo, error)      { return s.mem.Stat(name) }

type seamFile struct {
	vfs.File
	s *seamFS
}

func (f *seamFile) WriteAt(p []byte, off int64) (int, error) {
	return f.WritevAt([][]byte{p}, off)
}

func (f *seamFile) WritevAt(bufs [][]byte, off int64) (n int, err error) {
	err = f.s.p.do(step{
		whole: func() (err error) { n, err = f.File.WritevAt(bufs, off); return err },
		half:  func() { n = f.writeHalf(bufs, off) },
	})
	if errors.Is(err, errShort) {
		err = nil
	}
	return n, err
}

// writeHalf writes the first half of the bytes and returns their number.
func (f *seamFile) writeHalf(bufs [][]byte, off int64) int {
	var all []byte
	for _, b := range bufs {
		all = append(all, b...)
	}
	n, _ := f.File.WriteAt(all[:len(all)/2], off) // a Mem that is alive takes it
	return n
}

func (f *seamFile) Sync() error {
	return f.s.p.do(step{whole: f.File.Sync, forget: func() { f.s.mem.Forget(f.Name()) }, mayLie: true})
}

func (f *seamFile) Truncate(size int64) error {
	return f.s.change(func() error { return f.File.Truncate(size) })
}

func (f *seamFile) Allocate(off, n int64) error {
	return f.s.change(func() error { return f.File.Allocate(off, n) })
}

func (f *seamFile) PunchHole(off, n int64) error {
	return f.s.change(func() error { return f.File.PunchHole(off, n) })
}
