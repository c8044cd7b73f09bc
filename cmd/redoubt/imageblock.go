package main

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt/internal/slab"
)

const (
	// imageBlockBytes is how much of the image one block holds; blocks begin at
	// multiples of it.
	imageBlockBytes = 4 << 20
	// imageBlocks is how many blocks an export has: 64 MiB. When all wait for the
	// disk or for the hash no more data is taken.
	imageBlocks = 16
	// imageDirect is the length in bytes from which data goes past the page cache.
	imageDirect = 64 << 10
	imagePage   = slab.Page
)

// imageBlock is a part of the image on its way to the file and the hash.
type imageBlock struct {
	at    uint64     // of the image
	b     []byte     // imageBlockBytes that begin with a page
	runs  []imageRun // what of b is data, rising; the rest is not looked at
	users atomic.Int32
}

// imageRun is bytes [from, to) of a block.
type imageRun struct{ from, to int }

func newImageBlock() *imageBlock {
	b := make([]byte, imageBlockBytes+imagePage)
	slab.Huge(b)
	return &imageBlock{b: slab.FromPage(b)[:imageBlockBytes:imageBlockBytes]}
}

// add copies data that lies from off on into the block, behind what it has.
func (k *imageBlock) add(off uint64, data []byte) {
	from := int(off - k.at)
	to := from + copy(k.b[from:], data)
	if n := len(k.runs); n > 0 && k.runs[n-1].to == from {
		k.runs[n-1].to = to
		return
	}
	k.runs = append(k.runs, imageRun{from, to})
}

// imageWriter writes blocks into a file. It may be used concurrently.
type imageWriter struct {
	f      *os.File
	direct *os.File // the same file past the page cache; nil: the file system has no such thing
	cached atomic.Bool
}

// openImageWriter opens the file at path, which f is, once more for large writes.
// Whole pages go to the disk at once: copying them into the page cache costs more
// than all else that is done with them, and somebody else's pages go.
func openImageWriter(f *os.File, path string) *imageWriter {
	w := &imageWriter{f: f}
	if d, err := os.OpenFile(path, os.O_WRONLY|syscall.O_DIRECT, 0); err == nil {
		w.direct = d
	}
	return w
}

func (w *imageWriter) close() error {
	if w.direct == nil {
		return nil
	}
	return w.direct.Close()
}

func (w *imageWriter) write(k *imageBlock) error {
	for _, r := range k.runs {
		if err := w.run(k, r); err != nil {
			return err
		}
	}
	return nil
}

// run writes the parts of pages at both ends through the cache.
func (w *imageWriter) run(k *imageBlock, r imageRun) error {
	first, last := (r.from+imagePage-1)/imagePage*imagePage, r.to/imagePage*imagePage
	if w.direct == nil || w.cached.Load() || last-first < imageDirect {
		return w.through(k, r.from, r.to)
	}
	_, err := w.direct.WriteAt(k.b[first:last], int64(k.at)+int64(first))
	if errors.Is(err, unix.EINVAL) { // larger blocks, or none of this
		w.cached.Store(true)
		return w.through(k, r.from, r.to)
	}
	if err != nil {
		return err
	}
	return errors.Join(w.through(k, r.from, first), w.through(k, last, r.to))
}

func (w *imageWriter) through(k *imageBlock, from, to int) error {
	if from == to {
		return nil
	}
	_, err := w.f.WriteAt(k.b[from:to], int64(k.at)+int64(from))
	return err
}
