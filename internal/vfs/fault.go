package vfs

import (
	"io"
	"io/fs"
	"os"
	"sync/atomic"
)

// Fault passes everything on to another file system, and makes one mutating
// operation fail: the n-th, counted from 1 over the file system and all files
// opened through it. A failing write has written a part of its bytes. Mutating
// are creates, writes, syncs, truncates, allocations, renames and removes;
// reads and opens of what exists are not.
type Fault struct {
	fs    FS
	err   error
	at    atomic.Int64
	count atomic.Int64
	after atomic.Bool
}

// NewFault returns a Fault whose n-th mutating operation returns err; n 0
// never fails.
func NewFault(fs FS, n int64, err error) *Fault {
	f := &Fault{fs: fs, err: err}
	f.at.Store(n)
	return f
}

// Count returns the number of mutating operations so far.
func (f *Fault) Count() int64 { return f.count.Load() }

// FailAt makes the n-th operation fail, counted from the start; 0 is never.
func (f *Fault) FailAt(n int64) { f.at.Store(n) }

// StayDown makes every operation after the failing one fail too, as a disk
// that is gone does.
func (f *Fault) StayDown() { f.after.Store(true) }

func (f *Fault) fail() bool {
	n, at := f.count.Add(1), f.at.Load()
	return at > 0 && (n == at || n > at && f.after.Load())
}

func (f *Fault) do(op, name string, fn func() error) error {
	if f.fail() {
		return pathErr(op, name, f.err)
	}
	return fn()
}

// OpenFile opens or makes a file; making one counts.
func (f *Fault) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if flag&os.O_CREATE != 0 && f.fail() {
		return nil, pathErr("open", name, f.err)
	}
	file, err := f.fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, f: f}, nil
}

// MkdirAll counts.
func (f *Fault) MkdirAll(name string, perm os.FileMode) error {
	return f.do("mkdir", name, func() error { return f.fs.MkdirAll(name, perm) })
}

// Remove counts.
func (f *Fault) Remove(name string) error {
	return f.do("remove", name, func() error { return f.fs.Remove(name) })
}

// RemoveAll counts.
func (f *Fault) RemoveAll(name string) error {
	return f.do("remove", name, func() error { return f.fs.RemoveAll(name) })
}

// Rename counts.
func (f *Fault) Rename(o, n string) error {
	return f.do("rename", o, func() error { return f.fs.Rename(o, n) })
}

// SyncDir counts.
func (f *Fault) SyncDir(name string) error {
	return f.do("syncdir", name, func() error { return f.fs.SyncDir(name) })
}

// ReadDir does not count.
func (f *Fault) ReadDir(name string) ([]fs.DirEntry, error) { return f.fs.ReadDir(name) }

// Stat does not count.
func (f *Fault) Stat(name string) (fs.FileInfo, error) { return f.fs.Stat(name) }

// Lock passes on to the file system below; without locks there it does nothing.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if l, ok := f.fs.(Locker); ok {
		return l.Lock(name)
	}
	return unlock(func() {}), nil
}

type faultFile struct {
	File
	f *Fault
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	if f.f.fail() {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, pathErr("write", f.Name(), f.f.err)
	}
	return f.File.WriteAt(p, off)
}

func (f *faultFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	if f.f.fail() {
		n, _ := f.File.WritevAt(bufs[:len(bufs)/2], off)
		return n, pathErr("write", f.Name(), f.f.err)
	}
	return f.File.WritevAt(bufs, off)
}

func (f *faultFile) Sync() error {
	return f.f.do("sync", f.Name(), f.File.Sync)
}

func (f *faultFile) Truncate(size int64) error {
	return f.f.do("truncate", f.Name(), func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Allocate(off, n int64) error {
	return f.f.do("fallocate", f.Name(), func() error { return f.File.Allocate(off, n) })
}

func (f *faultFile) PunchHole(off, n int64) error {
	return f.f.do("punch hole", f.Name(), func() error { return f.File.PunchHole(off, n) })
}
