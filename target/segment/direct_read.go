package segment

import (
	"errors"
	"os"
	"syscall"

	"github.com/redoubt-dr/redoubt/internal/slab"
)

// readDirect reads n bytes of a large range past the page cache: large batches
// went past it when they were written, and filling it with what is read once costs
// more than reading. No Data: read it the other way, whatever the reason is.
func (l *Log) readDirect(p place, off int64, n int) slab.Part {
	if n < directFrom || l.cached.Load() {
		return slab.Part{}
	}
	l.mu.RLock()
	f, closed := l.files[p.file], l.closed
	l.mu.RUnlock()
	if closed || f == nil {
		return slab.Part{}
	}
	// A file is opened for each read: that costs some microseconds of a read's
	// millisecond, and no descriptors.
	d, err := l.o.FS.OpenFile(f.Name(), os.O_RDONLY|syscall.O_DIRECT, 0)
	if err != nil {
		if errors.Is(err, syscall.EINVAL) {
			l.cached.Store(true)
		}
		return slab.Part{} // or the file went meanwhile; what is open is still good
	}
	defer func() { _ = d.Close() }() // nothing was written
	first := off / page * page
	skip := int(off - first)
	mem := slab.Get((skip+n+page-1)/page*page + page)
	b := slab.FromPage(mem)[:(skip+n+page-1)/page*page]
	// The last page may pass the end of the file.
	if got, err := d.ReadAt(b, first); got < skip+n {
		if errors.Is(err, syscall.EINVAL) { // larger blocks, or none of this
			l.cached.Store(true)
		}
		slab.Put(mem)
		return slab.Part{}
	}
	return slab.PartOf(b[skip:skip+n:skip+n], mem)
}
