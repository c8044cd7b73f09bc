package vfs

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// memFile is an open file of a Mem.
type memFile struct {
	m      *Mem
	n      *memNode
	name   string
	closed bool
}

// enter locks the file system and refuses a closed file or one after a power cut.
func (f *memFile) enter(op string) error {
	f.m.mu.Lock()
	if f.closed || f.m.dead {
		f.m.mu.Unlock()
		return pathErr(op, f.name, os.ErrClosed)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.enter("read"); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if off < 0 {
		return 0, pathErr("read", f.name, fs.ErrInvalid)
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	if off < 0 {
		return 0, pathErr("write", f.name, fs.ErrInvalid)
	}
	return f.write(p, off)
}

// write writes what there is room for. m.mu is held.
func (f *memFile) write(p []byte, off int64) (int, error) {
	n := int(max(0, min(int64(len(p)), f.m.longest(f.n)-off)))
	f.n.write(p[:n], off)
	if n < len(p) {
		return n, pathErr("write", f.name, syscall.ENOSPC)
	}
	return n, nil
}

func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	if err := f.enter("write"); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	total := 0
	for _, b := range bufs {
		n, err := f.write(b, off+int64(total))
		if total += n; err != nil {
			return total, err
		}
	}
	return total, nil
}

func (n *memNode) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if end := off + int64(len(p)); int64(len(n.data)) < end {
		n.data = resize(n.data, end)
	}
	copy(n.data[off:], p)
	n.log = append(n.log, memOp{off, append([]byte(nil), p...)})
}

func (n *memNode) truncate(size int64) {
	n.data = resize(n.data, size)
	n.log = append(n.log, memOp{off: size})
}

func (f *memFile) Sync() error {
	if err := f.enter("sync"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.n.settle()
	return nil
}

// settle brings stable up to data by the log, so that a sync costs what was written.
func (n *memNode) settle() {
	for _, op := range n.log {
		if op.data == nil {
			n.stable = resize(n.stable, op.off)
			continue
		}
		if end := op.off + int64(len(op.data)); int64(len(n.stable)) < end {
			n.stable = resize(n.stable, end)
		}
		copy(n.stable[op.off:], op.data)
	}
	n.log = nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.enter("truncate"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if size > f.m.longest(f.n) {
		return pathErr("truncate", f.name, syscall.ENOSPC)
	}
	f.n.truncate(size)
	return nil
}

func (f *memFile) Allocate(off, n int64) error {
	if err := f.enter("fallocate"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if off+n > f.m.longest(f.n) {
		return pathErr("fallocate", f.name, syscall.ENOSPC)
	}
	if off+n > int64(len(f.n.data)) {
		f.n.truncate(off + n)
	}
	return nil
}

func (f *memFile) PunchHole(off, n int64) error {
	if err := f.enter("punch hole"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	if n = min(n, int64(len(f.n.data))-off); n > 0 {
		f.n.write(make([]byte, n), off)
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.enter("stat"); err != nil {
		return 0, err
	}
	defer f.m.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Name() string { return f.name }

func (f *memFile) Close() error {
	if err := f.enter("close"); err != nil {
		return err
	}
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
