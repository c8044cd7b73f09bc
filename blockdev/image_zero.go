package blockdev

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// zeroPage is what is written where nothing cheaper makes zeros.
var zeroPage [256 << 10]byte

// Zero makes e read as zeros: by giving the space back (punch) or by keeping it
// allocated. Where the file system or device can do neither, zeros are written.
//
// A device is never given BLKDISCARD: it does not promise zeros. Punching
// through fallocate does, and discards where the device can.
func (im *Image) Zero(e redoubt.Extent, punch bool) error {
	if e.Empty() {
		return nil
	}
	if err := im.use("zero disk"); err != nil {
		return err
	}
	defer im.life.RUnlock()
	if punch && !im.noPunch.Load() {
		err := im.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e)
		if err == nil {
			return nil
		}
		if !cannot(err) {
			return &redoubt.Error{Op: "punch disk", Object: im.path, Err: err}
		}
		if err != unix.EINVAL { // EINVAL is about this range's alignment
			im.noPunch.Store(true)
		}
	}
	if !im.noZero.Load() {
		err := im.zeroRange(e)
		if err == nil {
			return nil
		}
		if !cannot(err) {
			return &redoubt.Error{Op: "zero disk", Object: im.path, Err: err}
		}
		if err != unix.EINVAL {
			im.noZero.Store(true)
		}
	}
	for !e.Empty() {
		n := min(e.Len, uint64(len(zeroPage)))
		if err := im.writeAt(zeroPage[:n], e.Off); err != nil {
			return err
		}
		e.Off, e.Len = e.Off+n, e.Len-n
	}
	return nil
}

func (im *Image) zeroRange(e redoubt.Extent) error {
	err := im.fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, e)
	if err == nil || !im.device || !cannot(err) {
		return err
	}
	rng := [2]uint64{e.Off, e.Len}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(im.fd), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&rng)))
	if errno != 0 {
		return errno
	}
	return nil
}

func (im *Image) fallocate(mode uint32, e redoubt.Extent) error {
	for {
		err := unix.Fallocate(im.fd, mode, int64(e.Off), int64(e.Len))
		if err != unix.EINTR {
			return err
		}
	}
}

// cannot tells "this way does not exist here" from a real failure.
func cannot(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY, unix.EINVAL, unix.ENODEV} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
