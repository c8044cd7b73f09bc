package slab

import "unsafe"

// Page is what reads and writes past the page cache are multiples of, in memory
// and in the file, in bytes.
const Page = 4096

// FromPage returns b from the first address in it that is a multiple of Page; b
// has at least Page bytes.
func FromPage(b []byte) []byte {
	return b[-int(uintptr(unsafe.Pointer(unsafe.SliceData(b))))&(Page-1):]
}
