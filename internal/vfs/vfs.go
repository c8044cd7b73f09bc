// Package vfs is the file system that the journal, the shard log and the
// index write through. OS is the real one; Mem keeps files in memory and can
// lose what was not synced, or run out of room; Fault makes the n-th operation fail.
package vfs

import (
	"io/fs"
	"os"
)

// FS opens and arranges files. All methods may be called concurrently. Paths
// are those of the host; SyncDir must follow every create, rename and remove
// that has to survive a power cut.
type FS interface {
	OpenFile(name string, flag int, perm os.FileMode) (File, error)
	MkdirAll(name string, perm os.FileMode) error
	Remove(name string) error
	RemoveAll(name string) error
	Rename(oldName, newName string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	SyncDir(name string) error
}

// File is an open file. Positions are explicit, so it may be used concurrently.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// WritevAt writes the buffers one after the other at off, in one system
	// call where it can; it returns the number of bytes written.
	WritevAt(bufs [][]byte, off int64) (int, error)
	// Sync makes the file's data, and the metadata needed to read it, durable (fdatasync).
	Sync() error
	Truncate(size int64) error
	// Allocate reserves space for [off, off+n) and extends the file to it.
	Allocate(off, n int64) error
	// PunchHole makes [off, off+n) read as zeros and gives its space back; the size stays.
	PunchHole(off, n int64) error
	Size() (int64, error)
	Name() string
	Close() error
}
