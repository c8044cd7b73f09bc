package blockdev

import (
	"iter"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// NextData returns the next range at or after from that the file system has
// allocated, or false if only holes follow. Where holes are not known (block
// devices, some file systems) everything is data.
func (im *Image) NextData(from uint64) (redoubt.Extent, bool) {
	if from >= im.size.Load() {
		return redoubt.Extent{}, false
	}
	rest := redoubt.Extent{Off: from, Len: im.size.Load() - from}
	if im.noSeek.Load() || im.use("map disk") != nil {
		return rest, true
	}
	defer im.life.RUnlock()
	// The position of the descriptor is used by nobody else's reads or writes,
	// and both seeks give absolute offsets, so concurrent calls do not disturb
	// each other.
	start, err := unix.Seek(im.fd, int64(from), unix.SEEK_DATA)
	if err == unix.ENXIO {
		return redoubt.Extent{}, false
	}
	if err != nil {
		im.noSeek.Store(true)
		return rest, true
	}
	end, err := unix.Seek(im.fd, start, unix.SEEK_HOLE)
	if err != nil || uint64(end) > im.size.Load() || end <= start {
		end = int64(im.size.Load())
	}
	return redoubt.Extent{Off: uint64(start), Len: uint64(end - start)}, true
}

// Data yields the ranges inside e that may hold anything but zeros, in order.
func (im *Image) Data(e redoubt.Extent) iter.Seq[redoubt.Extent] {
	return func(yield func(redoubt.Extent) bool) {
		for at := e.Off; at < e.End(); {
			d, ok := im.NextData(at)
			if !ok {
				return
			}
			at = d.End()
			if d = d.Intersect(e); d.Empty() || !yield(d) {
				return
			}
		}
	}
}
