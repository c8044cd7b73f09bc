package slab

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// hugePage is the size of a huge page, or a divisor of it, on most machines, in bytes.
	hugePage = 2 << 20
	// hugeFrom is the size in bytes from which a buffer is worth the call.
	hugeFrom = 256 << 10
)

// Huge asks the system for huge pages beneath b, which was just made: where a
// buffer is touched from end to end, each fault of a small page costs more than
// what is done with it. It is a hint; without it everything works.
func Huge(b []byte) {
	if len(b) == 0 {
		return
	}
	// Only whole huge pages count, so the hint is given for those that b touches.
	// What else of Go's heap lies in them is none the worse for it.
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	end := (start + uintptr(len(b)) + hugePage - 1) &^ (hugePage - 1)
	start &^= hugePage - 1
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, start, end-start, unix.MADV_HUGEPAGE)
}
