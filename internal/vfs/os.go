package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// OS is the host's file system.
var OS FS = osFS{}

// Locker is an FS that can hold a directory or file for one owner.
type Locker interface {
	// Lock takes an exclusive lock on the file name, which is made if it is
	// missing. It does not wait: a lock that is held gives redoubt.ErrState.
	// The lock ends with Close of the result, or with the process.
	Lock(name string) (io.Closer, error)
}

type osFS struct{}

func (osFS) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{f: f, raw: raw}, nil
}

func (osFS) MkdirAll(name string, perm os.FileMode) error { return os.MkdirAll(name, perm) }
func (osFS) Remove(name string) error                     { return os.Remove(name) }
func (osFS) RemoveAll(name string) error                  { return os.RemoveAll(name) }
func (osFS) Rename(oldName, newName string) error         { return os.Rename(oldName, newName) }
func (osFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (osFS) Stat(name string) (fs.FileInfo, error)        { return os.Stat(name) }

func (osFS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = redoubt.ErrState
		}
		return nil, &redoubt.Error{Op: "lock", Object: name, Err: err, Hint: "another process uses it"}
	}
	return f, nil
}

type osFile struct {
	f   *os.File
	raw syscall.RawConn
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error)  { return f.f.ReadAt(p, off) }
func (f *osFile) WriteAt(p []byte, off int64) (int, error) { return f.f.WriteAt(p, off) }
func (f *osFile) Truncate(size int64) error                { return f.f.Truncate(size) }
func (f *osFile) Name() string                             { return f.f.Name() }
func (f *osFile) Close() error                             { return f.f.Close() }

func (f *osFile) Size() (int64, error) {
	st, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (f *osFile) Sync() error { return f.control("fdatasync", syscall.Fdatasync) }

func (f *osFile) Allocate(off, n int64) error {
	return f.control("fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
}

// Modes of fallocate(2); the standard library does not name them.
const (
	fallocKeepSize  = 1
	fallocPunchHole = 2
)

func (f *osFile) PunchHole(off, n int64) error {
	return f.control("punch hole", func(fd int) error {
		return syscall.Fallocate(fd, fallocKeepSize|fallocPunchHole, off, n)
	})
}

// Uncache drops clean cached pages of [off, off+n), so that the next read asks
// the disk. It is not part of File: whoever wants it asserts.
func (f *osFile) Uncache(off, n int64) error {
	return f.control("uncache", func(fd int) error { return unix.Fadvise(fd, off, n, unix.FADV_DONTNEED) })
}

// control runs fn on the descriptor, again when a signal interrupts it.
func (f *osFile) control(op string, fn func(fd int) error) error {
	var err error
	cerr := f.raw.Control(func(fd uintptr) {
		for {
			if err = fn(int(fd)); err != syscall.EINTR {
				return
			}
		}
	})
	if cerr != nil {
		err = cerr
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: f.f.Name(), Err: err}
	}
	return nil
}

// maxVec is the kernel's bound on the buffers of one pwritev (IOV_MAX).
const maxVec = 1024

// vecCall is one pwritev, kept in a pool so that a write allocates nothing.
type vecCall struct {
	iov []syscall.Iovec
	off int64
	n   int
	err error
	fn  func(fd uintptr)
}

var vecCalls = sync.Pool{New: func() any {
	c := new(vecCall)
	c.fn = c.run
	return c
}}

func (c *vecCall) run(fd uintptr) {
	for {
		// The kernel joins the two halves of the offset; the high one is zero on 64 bits.
		n, _, e := syscall.Syscall6(syscall.SYS_PWRITEV, fd, uintptr(unsafe.Pointer(&c.iov[0])), uintptr(len(c.iov)), uintptr(c.off), 0, 0)
		if e == syscall.EINTR {
			continue
		}
		c.n, c.err = int(n), nil
		if e != 0 {
			c.n, c.err = 0, e
		}
		return
	}
}

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	c := vecCalls.Get().(*vecCall)
	defer func() {
		clear(c.iov[:cap(c.iov)])
		c.iov = c.iov[:0]
		vecCalls.Put(c)
	}()
	total, i, skip := 0, 0, 0 // skip bytes of bufs[i] are written already
	for {
		c.iov = c.iov[:0]
		for k := i; k < len(bufs) && len(c.iov) < maxVec; k++ {
			b := bufs[k]
			if k == i {
				b = b[skip:]
			}
			if len(b) == 0 {
				continue
			}
			v := syscall.Iovec{Base: &b[0]}
			v.SetLen(len(b))
			c.iov = append(c.iov, v)
		}
		if len(c.iov) == 0 {
			return total, nil
		}
		c.off = off + int64(total)
		err := f.raw.Control(c.fn)
		if err == nil {
			err = c.err
		}
		if err == nil && c.n == 0 {
			err = io.ErrShortWrite
		}
		if err != nil {
			return total, &fs.PathError{Op: "pwritev", Path: f.f.Name(), Err: err}
		}
		total += c.n
		for n := c.n; n > 0 || (i < len(bufs) && skip == len(bufs[i])); {
			m := min(n, len(bufs[i])-skip)
			n, skip = n-m, skip+m
			if skip == len(bufs[i]) {
				i, skip = i+1, 0
			}
		}
	}
}
