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
	out    *imageWriter
	head   *adminv1.PointHeader
	sum    hash.Hash // nil: not wanted
	hashed chan hashPart
	done   chan struct{} // closed when everything in hashed is in sum
	block  *imageBlock   // that is being filled
	made   int           // blocks
	free   chan *imageBlock
	writes chan *imageBlock
	wrote  sync.WaitGroup
	failed atomic.Pointer[error] // of a write; the first one counts
	at     uint64                // end of the last data
	passed uint64                // end of what the hash was given
	data   uint64
	synced uint64 // data at the last call for write-back
	seen   func(at, data, size uint64)
}

// hashPart is what is hashed next: a block's data with the zeros between, or
// zeros alone.
type hashPart struct {
	block *imageBlock
	zeros uint64
}

// hashBehind is how many parts may wait for the hash, which is one stream: long
// holes hold it up, and data goes on coming meanwhile.
const hashBehind = 2 * imageBlocks

// imageWriters write at the same time: while one is held up, data goes on coming.
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
	im := &imageFile{path: path, sparse: sparse, f: f, out: openImageWriter(f, path+".partial"), seen: func(uint64, uint64, uint64) {}}
	im.free, im.writes = make(chan *imageBlock, imageBlocks), make(chan *imageBlock, imageBlocks)
	if sum {
		im.sum, im.hashed, im.done = sha256.New(), make(chan hashPart, hashBehind), make(chan struct{})
		go im.hash()
	}
	for range imageWriters {
		im.wrote.Go(im.write)
	}
	return im, nil
}

func (im *imageFile) hash() {
	defer close(im.done)
	for p := range im.hashed {
		im.hashZeros(p.zeros)
		if p.block == nil {
			continue
		}
		at := p.block.runs[0].from
		for _, r := range p.block.runs {
			im.hashZeros(uint64(r.from - at))
			im.sum.Write(p.block.b[r.from:r.to])
			at = r.to
		}
		im.release(p.block)
	}
}

func (im *imageFile) hashZeros(n uint64) {
	for ; n > 0; n -= min(n, uint64(len(zeros))) {
		im.sum.Write(zeros[:min(n, uint64(len(zeros)))])
	}
}

func (im *imageFile) write() {
	for k := range im.writes {
		if err := im.out.write(k); err != nil {
			im.failed.CompareAndSwap(nil, &err)
		}
		im.release(k)
	}
}

// release gives a block back when the file and the hash have it.
func (im *imageFile) release(k *imageBlock) {
	if k.users.Add(-1) == 0 {
		k.runs = k.runs[:0]
		im.free <- k
	}
}

// take returns a block of the image for what begins at off; it waits until one is free.
func (im *imageFile) take(off uint64) *imageBlock {
	var k *imageBlock
	select {
	case k = <-im.free:
	default:
		if im.made < imageBlocks {
			im.made++
			k = newImageBlock()
		} else {
			k = <-im.free
		}
	}
	k.at = off / imageBlockBytes * imageBlockBytes
	return k
}

// flush has the block that is being filled written and hashed.
func (im *imageFile) flush() {
	k := im.block
	if k == nil {
		return
	}
	im.block = nil
	k.users.Store(1)
	if im.sum != nil {
		k.users.Store(2)
		from, to := k.at+uint64(k.runs[0].from), k.at+uint64(k.runs[len(k.runs)-1].to)
		im.hashed <- hashPart{block: k, zeros: from - im.passed}
		im.passed = to
	}
	im.writes <- k
}

// drain waits for the writes and returns the first failure.
func (im *imageFile) drain() error {
	if im.writes != nil {
		im.flush()
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

// Data takes b, which it does not keep.
func (im *imageFile) Data(off uint64, b []byte) error {
	if err := im.failure(); err != nil {
		return err
	}
	im.at, im.data = off+uint64(len(b)), im.data+uint64(len(b))
	for len(b) > 0 {
		if im.block != nil && im.block.at != off/imageBlockBytes*imageBlockBytes {
			im.flush()
		}
		if im.block == nil {
			im.block = im.take(off)
		}
		n := min(uint64(len(b)), im.block.at+imageBlockBytes-off)
		im.block.add(off, b[:n])
		off, b = off+n, b[n:]
	}
	if im.data-im.synced >= writeBehind {
		im.synced = im.data
		// Only so that the last sync is short; where it does not exist it is not missed.
		_ = unix.SyncFileRange(int(im.f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	}
	im.seen(im.at, im.data, im.head.Size)
	return nil
}

// finish makes the file durable under its name, and returns its SHA-256.
func (im *imageFile) finish() (string, error) {
	if err := im.drain(); err != nil {
		return "", err
	}
	if im.sum != nil {
		im.hashed <- hashPart{zeros: im.head.Size - im.passed}
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
	return sum, errors.Join(im.out.close(), im.f.Close())
}

// abandon removes what there is.
func (im *imageFile) abandon() error {
	_ = im.drain() // whatever was written goes
	im.endSum()
	return errors.Join(os.Remove(im.path+".partial"), im.out.close(), im.f.Close())
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
