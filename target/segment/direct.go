package segment

import (
	"errors"
	"os"
	"syscall"

	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

const (
	// directFrom is the length in bytes from which a batch goes past the page
	// cache. Smaller ones are read again soon, and cost little.
	directFrom = 256 << 10
	// directPiece is the bytes of one direct write.
	directPiece = 1 << 20
	page        = slab.Page
)

// direct writes to a file past the page cache. It is for one goroutine.
type direct struct {
	f   vfs.File
	mem []byte // directPiece bytes that begin with a page
}

// openDirect opens w.f once more, for large batches. Where the file system has
// no direct writes all of them go through the page cache.
func (w *writer) openDirect(name string) {
	w.closeDirect()
	f, err := w.l.o.FS.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
	if err != nil {
		return
	}
	w.direct.f = f
	if w.direct.mem == nil {
		w.direct.mem = slab.FromPage(make([]byte, directPiece+page))[:directPiece:directPiece]
	}
}

func (w *writer) closeDirect() {
	if w.direct.f != nil {
		_ = w.direct.f.Close() // every write of it was answered
		w.direct.f = nil
	}
}

// append writes bufs, n bytes in all, behind the end of the file. Of a large
// batch the whole pages go to the disk at once. Copying them costs less than pages
// of the cache, which would push out others and have to be written at the sync. The
// parts of pages at both ends, which other batches share, go through the cache.
func (w *writer) append(bufs [][]byte, n int64) error {
	first, last := (w.end+page-1)/page*page, (w.end+n)/page*page
	if w.direct.f == nil || n < directFrom {
		_, err := w.f.WritevAt(bufs, w.end)
		return err
	}
	rest := buffers(bufs)
	if _, err := w.f.WritevAt(rest.take(first-w.end), w.end); err != nil {
		return err
	}
	for at := first; at < last; {
		p := w.direct.mem[:min(directPiece, last-at)]
		middle := rest
		rest.read(p)
		if _, err := w.direct.f.WriteAt(p, at); errors.Is(err, syscall.EINVAL) { // larger blocks, or none of this
			w.closeDirect()
			_, err := w.f.WritevAt(middle.take(w.end+n-at), at)
			return err
		} else if err != nil {
			return err
		}
		at += int64(len(p))
	}
	_, err := w.f.WritevAt(rest.take(w.end+n-last), last)
	return err
}

// buffers are bytes in pieces, of which more and more are taken from the front.
type buffers [][]byte

// take returns the next n bytes, where they lie.
func (b *buffers) take(n int64) (out [][]byte) {
	for n > 0 {
		p := (*b)[0]
		if int64(len(p)) <= n {
			*b = (*b)[1:]
		} else {
			p = p[:n]
			*b = append(buffers{(*b)[0][n:]}, (*b)[1:]...)
		}
		out, n = append(out, p), n-int64(len(p))
	}
	return out
}

// read copies the next bytes into p, until it is full.
func (b *buffers) read(p []byte) {
	for _, q := range b.take(int64(len(p))) {
		p = p[copy(p, q):]
	}
}
