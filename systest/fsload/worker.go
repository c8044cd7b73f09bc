package fsload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	slots    = 12   // names of a worker's files
	maxCells = 2048 // length of a file: 1 MiB
)

// worker changes the files of one folder. It notes what a change may leave
// before the change, and what a sync has settled after it: so a crash at any
// moment finds its notes right.
type worker struct {
	load   *Load
	dir    string
	rng    *rand.Rand
	folder *folder // nil before its first life
	nextID uint64
}

func (w *worker) run(ctx context.Context) error {
	if w.folder == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		if err := w.step(); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(w.dir), err)
		}
	}
	return nil
}

// begin makes the folder, durably.
func (w *worker) begin() error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	w.folder = newFolder()
	return syncFS(w.dir)
}

func (w *worker) step() error {
	name := fmt.Sprint("f", w.rng.IntN(slots))
	f := w.folder.now(name)
	if f == nil {
		return w.create(name)
	}
	switch p := w.rng.IntN(100); {
	case p < 35:
		return w.write(name, f)
	case p < 40:
		return w.punch(name, f)
	case p < 60:
		return w.fsync(name, f)
	case p < 75:
		return w.replace(name)
	case p < 80:
		return w.truncate(name, f)
	case p < 84:
		return w.remove(name)
	case p < 89:
		return w.rename(name, fmt.Sprint("f", w.rng.IntN(slots)))
	case p < 97:
		return w.syncFolder()
	}
	return w.syncAll()
}

func (w *worker) create(name string) error {
	w.nextID++
	f := newFile(w.nextID)
	w.folder.set(name, f)
	fd, err := os.OpenFile(w.path(name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer fd.Close()
	return w.fill(fd, f)
}

func (w *worker) write(name string, f *file) error {
	return w.with(name, func(fd *os.File) error { return w.fill(fd, f) })
}

// fill writes a range of a file, of any length, small ones more often.
func (w *worker) fill(fd *os.File, f *file) error {
	n := 1 + w.rng.IntN(1<<w.rng.IntN(10))
	from := w.rng.IntN(min(f.size, maxCells-n) + 1)
	f.writes++
	f.set(from, n, f.writes)
	p := make([]byte, n*CellSize)
	fillCells(p, f.id, f.writes, from)
	_, err := fd.WriteAt(p, int64(from)*CellSize)
	return err
}

// punch makes a hole: with discard, the disk is told so in time.
func (w *worker) punch(name string, f *file) error {
	if f.size == 0 {
		return nil
	}
	from := w.rng.IntN(f.size)
	n := 1 + w.rng.IntN(f.size-from)
	f.set(from, n, 0)
	return w.with(name, func(fd *os.File) error {
		return unix.Fallocate(int(fd.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(from)*CellSize, int64(n)*CellSize)
	})
}

func (w *worker) truncate(name string, f *file) error {
	n := w.rng.IntN(maxCells / 4)
	f.truncate(n)
	return os.Truncate(w.path(name), int64(n)*CellSize)
}

func (w *worker) fsync(name string, f *file) error {
	return w.with(name, func(fd *os.File) error {
		sync := unix.Fsync
		if !f.cut && w.rng.IntN(2) == 0 {
			sync = unix.Fdatasync
		}
		err := sync(int(fd.Fd()))
		if err == nil && w.load.count() {
			f.synced()
		}
		return err
	})
}

// replace is how programs save a file: a new one, synced, takes the old one's name.
func (w *worker) replace(name string) error {
	const fresh = "new"
	if w.folder.now(fresh) != nil { // a crash was quicker
		if err := w.remove(fresh); err != nil {
			return err
		}
	}
	if err := w.create(fresh); err != nil {
		return err
	}
	if err := w.fsync(fresh, w.folder.now(fresh)); err != nil {
		return err
	}
	if err := w.rename(fresh, name); err != nil {
		return err
	}
	return w.syncFolder()
}

func (w *worker) rename(from, to string) error {
	if from == to {
		return nil
	}
	w.folder.rename(from, to)
	return os.Rename(w.path(from), w.path(to))
}

func (w *worker) remove(name string) error {
	w.folder.lose(name)
	return os.Remove(w.path(name))
}

func (w *worker) syncFolder() error {
	return w.with("", func(fd *os.File) error {
		err := fd.Sync()
		if err == nil && w.load.count() {
			w.folder.synced()
		}
		return err
	})
}

// syncAll settles everything: nothing of this worker is under way.
func (w *worker) syncAll() error {
	if err := syncFS(w.dir); err != nil || !w.load.count() {
		return err
	}
	w.folder.synced()
	clear(w.folder.past)
	for _, fs := range w.folder.names {
		fs[0].synced()
	}
	return nil
}

func (w *worker) path(name string) string { return filepath.Join(w.dir, name) }

// with opens a file of the folder for writing, or the folder.
func (w *worker) with(name string, fn func(*os.File) error) error {
	flag := os.O_WRONLY
	if name == "" {
		flag = os.O_RDONLY
	}
	fd, err := os.OpenFile(w.path(name), flag, 0)
	if err != nil {
		return err
	}
	defer fd.Close()
	return fn(fd)
}
