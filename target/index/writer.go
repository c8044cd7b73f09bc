package index

import (
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// writeRun writes the entries of s as a run at off of f. r names it; the
// lengths are filled in. Memory is one block per level and a write buffer.
func writeRun(f vfs.File, r *run, s stream) error {
	w := &runWriter{f: f, r: r, at: sector, leaf: blockBuilder{kind: kindLeaf}}
	for {
		e, ok, err := s()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		w.leaf.addLeaf(&e)
		r.entries++
		if w.leaf.full() {
			if err := w.flush(&w.leaf, 0); err != nil {
				return err
			}
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	_, err := f.WriteAt(append(r.encode(), make([]byte, sector)...)[:sector], r.off)
	return err
}

type runWriter struct {
	f     vfs.File
	r     *run
	at    uint64 // place of the next block in the run
	buf   []byte
	leaf  blockBuilder
	inner []*blockBuilder // by level, lowest first
}

// flush writes bb and enters it into level of the inner blocks.
func (w *runWriter) flush(bb *blockBuilder, level int) error {
	before := len(w.buf)
	w.buf = bb.encode(w.buf, w.r.file, w.r.off+int64(w.at))
	c := bb.first
	c.at, c.len = w.at, uint32(len(w.buf)-before)
	w.at += uint64(c.len)
	bb.reset()
	if len(w.buf) >= 1<<20 {
		if err := w.drain(); err != nil {
			return err
		}
	}
	if level == len(w.inner) {
		w.inner = append(w.inner, &blockBuilder{kind: kindInner})
	}
	p := w.inner[level]
	p.addInner(c)
	w.r.rootAt, w.r.rootLen = c.at, c.len
	if p.full() {
		return w.flush(p, level+1)
	}
	return nil
}

func (w *runWriter) drain() error {
	off := w.r.off + int64(w.at) - int64(len(w.buf))
	_, err := w.f.WriteAt(w.buf, off)
	w.buf = w.buf[:0]
	return err
}

// finish closes the open blocks from the leaves up; the last one is the root.
func (w *runWriter) finish() error {
	if w.leaf.count > 0 {
		if err := w.flush(&w.leaf, 0); err != nil {
			return err
		}
	}
	for level := 0; level < len(w.inner); level++ {
		p := w.inner[level]
		top := level == len(w.inner)-1
		if p.count == 0 || top && p.count == 1 {
			continue // the only child of the top is the root
		}
		if err := w.flush(p, level+1); err != nil {
			return err
		}
	}
	w.r.bodyLen = w.at - sector
	return w.drain()
}
