package vfs

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DirectAlign is what offset, length and address of a direct write must be
// multiples of, in bytes: enough for disks with physical sectors of 4 KiB.
const DirectAlign = 4096

// ErrNoDirect means that the file's file system does not do direct writes;
// nothing was written.
var ErrNoDirect = errors.New("no direct writes")

// DirectWriter is a File that can write past the page cache. When WriteDirect
// returns the disk has the bytes, perhaps in its own cache: Sync is still needed, but
// finds nothing to write. p comes from AlignedBuffer. ErrNoDirect means to use WriteAt.
type DirectWriter interface {
	WriteDirect(p []byte, off int64) (int, error)
}

// AlignedBuffer returns n bytes for WriteDirect.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+DirectAlign)
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (DirectAlign - 1)
	return b[skip : skip+n : skip+n]
}

// direct is a second descriptor of a file, opened when it is first needed.
type direct struct {
	once sync.Once
	f    *os.File // nil: the file system refuses
}

func (f *osFile) WriteDirect(p []byte, off int64) (int, error) {
	f.direct.once.Do(func() {
		_ = f.control("open direct", func(fd int) error {
			f.direct.f, _ = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_WRONLY|syscall.O_DIRECT, 0)
			return nil
		})
	})
	if f.direct.f == nil {
		return 0, ErrNoDirect
	}
	n, err := f.direct.f.WriteAt(p, off)
	if n == 0 && errors.Is(err, unix.EINVAL) {
		return 0, ErrNoDirect
	}
	return n, err
}
