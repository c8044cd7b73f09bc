package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// imageFile writes a disk into FILE.partial and gives it its name when it is
// whole and durable. It implements admin.PointSink.
type imageFile struct {
	path   string
	sparse bool
	f      *os.File
	head   *adminv1.PointHeader
	sum    hash.Hash // nil: not wanted
	hashed chan hashPart
	done   chan struct{} // closed when everything in hashed is in sum
	writes chan imagePart
	wrote  sync.WaitGroup
	failed atomic.Pointer[error] // of a write; the first one counts
	at     uint64                // end of the last data
	data   uint64
	synced uint64 // data at the last call for write-back
	seen   func(at, data, size uint64)
}

// imagePart is data on its way to the file.
type imagePart struct {
	off uint64
	b   []byte
}

// hashPart is what is hashed next: data, or so many zeros.
type hashPart struct {
	b     []byte
	zeros uint64
}

// hashBehind is how many parts of at most 1 MiB may wait for the hash, which is
// one stream: long holes hold it up, and data goes on coming meanwhile.
const hashBehind = 64

// imageWriters write at the same time: while one is held up, data goes on
// coming. Up to twice as many parts of at most 1 MiB wait.
const imageWriters = 3

// zeros is hashed for what is left out.
var zeros [1 << 20]byte

// writeBehind is how much data may lie in the page cache before its writing is begun.
const writeBehind = 64 << 20

func createImage(path string, sparse, sum, replace bool) (*imageFile, error) {
	if fi, err := os.Stat(path); err == nil && (!replace || !fi.Mode().IsRegular()) {
		return nil, &redoubt.Error{Op: "export to", Object: path, Err: redoubt.ErrExists, Hint: "choose another name, or --force to replace a file"}
	}
	f, err := os.OpenFile(path+".partial", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &redoubt.Error{Op: "export to", Object: path, Err: err, Hint: "FILE is made on this host; its folder must be there, and writable"}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(&redoubt.Error{Op: "export to", Object: path, Err: fmt.Errorf("another export writes it: %w", redoubt.ErrExists)}, f.Close())
	}
	im := &imageFile{path: path, sparse: sparse, f: f, seen: func(uint64, uint64, uint64) {}}
	if sum {
		im.sum, im.hashed, im.done = sha256.New(), make(chan hashPart, hashBehind), make(chan struct{})
		go func() {
			defer close(im.done)
			for p := range im.hashed {
				im.sum.Write(p.b)
				for n := p.zeros; n > 0; n -= min(n, uint64(len(zeros))) {
					im.sum.Write(zeros[:min(n, uint64(len(zeros)))])
				}
			}
		}()
	}
	im.writes = make(chan imagePart, imageWriters)
	for range imageWriters {
		im.wrote.Go(im.write)
	}
	return im, nil
}

func (im *imageFile) write() {
	for p := range im.writes {
		if _, err := im.f.WriteAt(p.b, int64(p.off)); err != nil {
			im.failed.CompareAndSwap(nil, &err)
		}
	}
}

// drain waits for the writes and returns the first failure.
func (im *imageFile) drain() error {
	if im.writes != nil {
		close(im.writes)
		im.wrote.Wait()
		im.writes = nil
	}
	return im.failure()
}

func (im *imageFile) failure() error {
	err := im.failed.Load()
	switch {
	case err == nil:
		return nil
	case vfs.IsNoSpace(*err):
		return &redoubt.Error{Op: "export to", Object: im.path, Err: *err, Hint: "free space; --format raw finds out at once whether there is enough"}
	}
	return *err
}

// Begin makes room for the disk. What an export that was killed left behind goes.
func (im *imageFile) Begin(h *adminv1.PointHeader) error {
	im.head = h
	if err := im.f.Truncate(0); err != nil {
		return err
	}
	if err := im.f.Truncate(int64(h.Size)); err != nil {
		return &redoubt.Error{Op: "export to", Object: im.path, Err: err, Hint: "the file system may not have files of this size"}
	}
	if im.sparse {
		return nil
	}
	if err := unix.Fallocate(int(im.f.Fd()), 0, 0, int64(h.Size)); err != nil {
		return &redoubt.Error{Op: "export to", Object: im.path, Err: err, Hint: "free space, or use --format sparse"}
	}
	return nil
}

// Data takes b, which it keeps until it is written.
func (im *imageFile) Data(off uint64, b []byte) error {
	im.hole(off - im.at)
	if im.sum != nil {
		im.hashed <- hashPart{b: b}
	}
	if err := im.failure(); err != nil {
		return err
	}
	im.writes <- imagePart{off, b}
	im.at, im.data = off+uint64(len(b)), im.data+uint64(len(b))
	if im.data-im.synced >= writeBehind {
		im.synced = im.data
		// Only so that the last sync is short; where it does not exist it is not missed.
		_ = unix.SyncFileRange(int(im.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	im.seen(im.at, im.data, im.head.Size)
	return nil
}

// hole accounts for n bytes of zeros: they are in the file already.
func (im *imageFile) hole(n uint64) {
	if im.sum != nil && n > 0 {
		im.hashed <- hashPart{zeros: n}
	}
}

// finish makes the file durable under its name, and returns its SHA-256.
func (im *imageFile) finish() (string, error) {
	im.hole(im.head.Size - im.at)
	if err := im.drain(); err != nil {
		return "", err
	}
	sum := im.endSum()
	if err := im.f.Sync(); err != nil {
		return "", err
	}
	if err := os.Rename(im.path+".partial", im.path); err != nil {
		return "", err
	}
	if err := vfs.OS.SyncDir(filepath.Dir(im.path)); err != nil {
		return "", err
	}
	return sum, im.f.Close()
}

// abandon removes what there is.
func (im *imageFile) abandon() error {
	_ = im.drain() // whatever was written goes
	im.endSum()
	return errors.Join(os.Remove(im.path+".partial"), im.f.Close())
}

func (im *imageFile) endSum() string {
	if im.sum == nil {
		return ""
	}
	close(im.hashed)
	<-im.done
	s := hex.EncodeToString(im.sum.Sum(nil))
	im.sum = nil
	return s
}
