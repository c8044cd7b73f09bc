package blockdev

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// Image is a Backing on a regular file or a block device of this host. It goes
// through the page cache, so that reads can be answered without waiting.
type Image struct {
	f      *os.File
	fd     int
	path   string
	size   atomic.Uint64
	device bool
	life   sync.RWMutex // held shared by every use of fd, so that a closed number is never used
	closed bool
	// What the file system turned out not to do, so that it is not asked again.
	noQuick, noPunch, noZero, noSeek atomic.Bool
}

// OpenImage opens the file or block device at path for this process alone: a
// device with O_EXCL (a mounted or otherwise used one is refused), a file with
// flock. wantSize is the size in bytes that the disk must have, 0 for any; the
// size must be a multiple of redoubt.SectorSize. Errors wrap
// redoubt.ErrNotFound, redoubt.ErrInvalid, redoubt.ErrState or the system's error.
func OpenImage(path string, wantSize uint64) (*Image, error) {
	fail := func(err error, hint string) (*Image, error) {
		return nil, &redoubt.Error{Op: "open disk", Object: path, Hint: hint, Err: err}
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fail(fmt.Errorf("%w: %w", redoubt.ErrNotFound, err), "is its file system mounted? a disk that was never protected is made first, for example with: truncate -s 10G "+path+"; never put an empty file in the place of one that was")
	case err != nil:
		return fail(err, "")
	}
	device := st.Mode()&os.ModeDevice != 0 && st.Mode()&os.ModeCharDevice == 0
	if !device && !st.Mode().IsRegular() {
		return fail(fmt.Errorf("neither a regular file nor a block device: %w", redoubt.ErrInvalid), "")
	}
	flags := os.O_RDWR
	if device {
		flags |= unix.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, unix.EBUSY) {
		return fail(fmt.Errorf("%w: %w", redoubt.ErrState, err), "the device is mounted or used by another program; its users must go through the export instead")
	}
	if err != nil {
		return fail(err, "")
	}
	im := &Image{f: f, fd: int(f.Fd()), path: path, device: device}
	if err := im.claim(wantSize); err != nil {
		f.Close()
		return nil, err
	}
	return im, nil
}

// claim locks a file against other programs of this kind and checks the size.
func (im *Image) claim(wantSize uint64) error {
	fail := func(err error, hint string) error {
		return &redoubt.Error{Op: "open disk", Object: im.path, Hint: hint, Err: err}
	}
	if err := unix.Flock(im.fd, unix.LOCK_EX|unix.LOCK_NB); err != nil && !im.device {
		return fail(fmt.Errorf("locked by another program: %w: %w", redoubt.ErrState, err), "is another redoubtd, or an NBD server, using this image?")
	}
	size, err := im.measure()
	if err != nil {
		return fail(err, "")
	}
	im.size.Store(size)
	switch {
	case size == 0 || size%redoubt.SectorSize != 0 || size > redoubt.MaxDiskSize:
		return fail(fmt.Errorf("size %d bytes: %w", size, redoubt.ErrInvalid), fmt.Sprintf("the size must be a multiple of %d, up to %d", redoubt.SectorSize, uint64(redoubt.MaxDiskSize)))
	case wantSize != 0 && wantSize != size:
		return fail(fmt.Errorf("size is %d bytes, expected %d: %w", size, wantSize, redoubt.ErrState), "the image was resized or replaced behind Redoubt's back")
	}
	return nil
}

func (im *Image) measure() (uint64, error) {
	if im.device {
		var n uint64
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(im.fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n)))
		if e != 0 {
			return 0, e
		}
		return n, nil
	}
	st, err := im.f.Stat()
	if err != nil {
		return 0, err
	}
	return uint64(st.Size()), nil
}

// Path returns the path that the image was opened at.
func (im *Image) Path() string { return im.path }

// Size returns the size in bytes that is used.
func (im *Image) Size() uint64 { return im.size.Load() }

// Measure returns the size in bytes that the file or device has at present; it
// may have grown since it was opened.
func (im *Image) Measure() (uint64, error) {
	if err := im.use("measure disk"); err != nil {
		return 0, err
	}
	defer im.life.RUnlock()
	return im.measure()
}

// Resize uses size bytes of the file or device from now on, at most as many as
// it has.
func (im *Image) Resize(size uint64) error {
	have, err := im.Measure()
	if err != nil {
		return err
	}
	if size > have || size%redoubt.SectorSize != 0 {
		return &redoubt.Error{Op: "resize disk", Object: im.path, Err: fmt.Errorf("%d of %d bytes: %w", size, have, redoubt.ErrInvalid), Hint: "enlarge the image or device first"}
	}
	im.size.Store(size)
	return nil
}

// ReadAt fills p from off.
func (im *Image) ReadAt(p []byte, off uint64) error {
	if err := im.use("read disk"); err != nil {
		return err
	}
	defer im.life.RUnlock()
	for len(p) > 0 {
		n, err := unix.Pread(im.fd, p, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = fmt.Errorf("unexpected end at %d: %w", off, redoubt.ErrCorrupt)
		}
		if err != nil {
			return &redoubt.Error{Op: "read disk", Object: im.path, Err: err}
		}
		p, off = p[n:], off+uint64(n)
	}
	return nil
}

// TryReadAt fills p if the page cache has all of it, and reports whether it did.
func (im *Image) TryReadAt(p []byte, off uint64) bool {
	if im.noQuick.Load() || im.use("read disk") != nil {
		return false
	}
	defer im.life.RUnlock()
	iov := [1][]byte{p}
	n, err := unix.Preadv2(im.fd, iov[:], int64(off), unix.RWF_NOWAIT)
	if err == unix.EOPNOTSUPP || err == unix.ENOSYS {
		im.noQuick.Store(true)
	}
	return err == nil && n == len(p)
}

// Prefetch has the system read a range into its page cache, without waiting for it.
func (im *Image) Prefetch(e redoubt.Extent) {
	if im.use("prefetch") != nil {
		return
	}
	defer im.life.RUnlock()
	_ = unix.Fadvise(im.fd, int64(e.Off), int64(e.Len), unix.FADV_WILLNEED) // a hint
}

// WriteAt writes p at off.
func (im *Image) WriteAt(p []byte, off uint64) error {
	if err := im.use("write disk"); err != nil {
		return err
	}
	defer im.life.RUnlock()
	return im.writeAt(p, off)
}

func (im *Image) writeAt(p []byte, off uint64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(im.fd, p, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &redoubt.Error{Op: "write disk", Object: im.path, Err: err}
		}
		p, off = p[n:], off+uint64(n)
	}
	return nil
}

// WritevAt writes bufs, at most 1024 of them, one after the other at off. It
// may change the slice bufs.
func (im *Image) WritevAt(bufs [][]byte, off uint64) error {
	if err := im.use("write disk"); err != nil {
		return err
	}
	defer im.life.RUnlock()
	for len(bufs) > 0 {
		n, err := unix.Pwritev(im.fd, bufs, int64(off))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &redoubt.Error{Op: "write disk", Object: im.path, Err: err}
		}
		off += uint64(n)
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	return nil
}

// Sync makes everything written so far durable.
func (im *Image) Sync() error {
	if err := im.use("sync disk"); err != nil {
		return err
	}
	defer im.life.RUnlock()
	for {
		err := unix.Fdatasync(im.fd)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &redoubt.Error{Op: "sync disk", Object: im.path, Err: err}
		}
		return nil
	}
}

// use holds off Close until im.life.RUnlock, or fails if it is closed.
func (im *Image) use(op string) error {
	im.life.RLock()
	if !im.closed {
		return nil
	}
	im.life.RUnlock()
	return &redoubt.Error{Op: op, Object: im.path, Err: redoubt.ErrClosed}
}

// Close releases the file or device when the calls under way have ended. It
// does not sync. Closing twice is allowed.
func (im *Image) Close() error {
	im.life.Lock()
	defer im.life.Unlock()
	if im.closed {
		return nil
	}
	im.closed = true
	return im.f.Close()
}
