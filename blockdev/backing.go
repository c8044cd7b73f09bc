package blockdev

import "github.com/redoubt-dr/redoubt"

// Backing is where the content of a disk lies in the end. Offsets and lengths
// are in bytes and lie inside the disk. Reads and writes are whole or fail. All
// methods may be called concurrently; the Group never writes two overlapping
// ranges at once, and never reads a range that it is writing without reading
// the newer content from memory instead.
type Backing interface {
	ReadAt(p []byte, off uint64) error
	WriteAt(p []byte, off uint64) error
	// Zero makes e read as zeros. With punch it gives the space back if it can.
	Zero(e redoubt.Extent, punch bool) error
	// Sync makes everything written before the call durable.
	Sync() error
	// Size is the disk's size in bytes; it changes only by a resizer's Resize.
	Size() uint64
	Close() error
}

// quickReader is a Backing that can tell whether a read would block.
type quickReader interface {
	// TryReadAt reads all of p without waiting for a device and reports true,
	// or reports false and leaves p undefined.
	TryReadAt(p []byte, off uint64) bool
}

// vectorWriter is a Backing that writes several buffers in one call.
type vectorWriter interface {
	// WritevAt writes bufs one after the other at off; it may change the slice bufs.
	WritevAt(bufs [][]byte, off uint64) error
}

// dataMap is a Backing that knows its holes.
type dataMap interface {
	// NextData returns the next range at or after from that may hold anything
	// but zeros, or false if there is none.
	NextData(from uint64) (redoubt.Extent, bool)
}

// prefetcher is a backing that can bring a range nearer, as a hint.
type prefetcher interface {
	Prefetch(e redoubt.Extent)
}

// resizer is a Backing that can grow.
type resizer interface {
	Measure() (uint64, error) // bytes that there are
	Resize(size uint64) error // bytes that are used
}
