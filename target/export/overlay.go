package export

import (
	"errors"
	"fmt"
	"sync"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/redoubt-dr/redoubt"
	"golang.org/x/sys/unix"
)

// overlayBlock is the unit of an Overlay, in bytes. A smaller write copies the
// rest of its block from the base once.
const overlayBlock = 4096

// Base is what lies under an Overlay: one disk of a View. Reads are full or fail.
type Base interface {
	ReadAt(p []byte, off uint64) error
}

// Overlay is a blockdev.Backing that keeps its writes in a sparse file over a
// read-only base. Which blocks are its own is remembered in an allocation log,
// which Sync extends after the data is durable: after a crash a block is
// either whole in the file or still the base's, and the journal replays what
// the log does not know.
//
// Reads and writes may run concurrently; two writes of the same bytes need an
// order of the caller's.
type Overlay struct {
	base Base
	size uint64
	data *pieces
	log  *allocLog

	writing sync.Mutex // held by who changes the data file
	syncing sync.Mutex // one Sync at a time: the log has one end

	mu    sync.RWMutex
	own   *roaring64.Bitmap // blocks that the file holds
	fresh *roaring64.Bitmap // of these, the ones that the log does not know yet
	err   error             // latched: after a failed sync nothing succeeds
}

// OpenOverlay opens or makes the overlay files path.data and path.alloc.
func OpenOverlay(path string, base Base, size uint64) (*Overlay, error) {
	data, err := openPieces(path+".data", roundUp(size))
	if err != nil {
		return nil, err
	}
	log, own, err := openAllocLog(path + ".alloc")
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &Overlay{base: base, size: size, data: data, log: log, own: own, fresh: roaring64.New()}, nil
}

func roundUp(n uint64) uint64 { return (n + overlayBlock - 1) / overlayBlock * overlayBlock }

// Size returns the disk's size in bytes.
func (o *Overlay) Size() uint64 { return o.size }

// ReadAt fills p from off: own blocks from the file, the others from the base.
func (o *Overlay) ReadAt(p []byte, off uint64) error {
	if err := o.check("read", redoubt.Extent{Off: off, Len: uint64(len(p))}); err != nil {
		return err
	}
	for len(p) > 0 {
		n, own := o.run(off, uint64(len(p)))
		var err error
		if own {
			err = o.data.ReadAt(p[:n], off)
		} else {
			err = o.base.ReadAt(p[:n], off)
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// run returns how many of the next n bytes at off lie on the same side.
func (o *Overlay) run(off, n uint64) (uint64, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	block := off / overlayBlock
	own := o.own.Contains(block)
	end := (block + 1) * overlayBlock
	for end < off+n && o.own.Contains(end/overlayBlock) == own {
		end += overlayBlock
	}
	return min(n, end-off), own
}

// WriteAt puts p at off.
func (o *Overlay) WriteAt(p []byte, off uint64) error {
	e := redoubt.Extent{Off: off, Len: uint64(len(p))}
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.prepare("write", e); err != nil {
		return err
	}
	if err := o.data.WriteAt(p, off); err != nil {
		return o.latch(err)
	}
	o.claim(e)
	return nil
}

// Zero makes e read as zeros.
func (o *Overlay) Zero(e redoubt.Extent, _ bool) error {
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.prepare("zero", e); err != nil {
		return err
	}
	if e.Empty() {
		return nil
	}
	if err := o.zeroData(e); err != nil {
		return o.latch(err)
	}
	o.claim(e)
	return nil
}

func (o *Overlay) zeroData(e redoubt.Extent) error {
	err := o.data.Punch(e)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = o.writeZeros(e)
	}
	return err
}

func (o *Overlay) writeZeros(e redoubt.Extent) error {
	zeros := make([]byte, min(e.Len, 1<<20))
	for e.Len > 0 {
		n := min(e.Len, uint64(len(zeros)))
		if err := o.data.WriteAt(zeros[:n], e.Off); err != nil {
			return err
		}
		e.Off, e.Len = e.Off+n, e.Len-n
	}
	return nil
}

// prepare brings the partly covered blocks at both ends of e over from the base.
func (o *Overlay) prepare(op string, e redoubt.Extent) error {
	if err := o.check(op, e); err != nil {
		return err
	}
	if e.Empty() {
		return nil
	}
	first, last := e.Off/overlayBlock, (e.End()-1)/overlayBlock
	if e.Off%overlayBlock != 0 {
		if err := o.copyUp(first); err != nil {
			return err
		}
	}
	if e.End()%overlayBlock != 0 && e.End() != o.size && (last != first || e.Off%overlayBlock == 0) {
		return o.copyUp(last)
	}
	return nil
}

func (o *Overlay) copyUp(block uint64) error {
	o.mu.RLock()
	own := o.own.Contains(block)
	o.mu.RUnlock()
	if own {
		return nil
	}
	off := block * overlayBlock
	buf := make([]byte, min(overlayBlock, o.size-off))
	if err := o.base.ReadAt(buf, off); err != nil {
		return err
	}
	if err := o.data.WriteAt(buf, off); err != nil {
		return o.latch(err)
	}
	o.claim(redoubt.Extent{Off: off, Len: uint64(len(buf))})
	return nil
}

func (o *Overlay) claim(e redoubt.Extent) {
	if e.Empty() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	first, last := e.Off/overlayBlock, (e.End()-1)/overlayBlock
	add := roaring64.New()
	add.AddRange(first, last+1)
	add.AndNot(o.own)
	o.fresh.Or(add)
	o.own.Or(add)
}

// Sync makes everything written so far durable: the data, then the log. After
// a failure nothing succeeds any more.
func (o *Overlay) Sync() error {
	o.syncing.Lock()
	defer o.syncing.Unlock()
	o.mu.Lock()
	fresh := o.fresh
	o.fresh = roaring64.New()
	err := o.err
	o.mu.Unlock()
	if err != nil {
		return err
	}
	if err := o.data.Sync(); err != nil {
		return o.latch(err)
	}
	if err := o.log.append(fresh); err != nil {
		return o.latch(err)
	}
	return nil
}

// Bytes returns how much the overlay holds, in whole blocks.
func (o *Overlay) Bytes() uint64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.own.GetCardinality() * overlayBlock
}

// Close closes the files without syncing.
func (o *Overlay) Close() error { return errors.Join(o.data.Close(), o.log.close()) }

func (o *Overlay) check(op string, e redoubt.Extent) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.err != nil {
		return o.err
	}
	if !e.Within(o.size) {
		return &redoubt.Error{Op: op, Object: e.String(), Err: redoubt.ErrOutOfRange}
	}
	return nil
}

func (o *Overlay) latch(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = &redoubt.Error{Op: "write overlay", Object: o.data.Name(), Err: fmt.Errorf("%w: %w", redoubt.ErrFailed, err),
			Hint: "free space or mend the file system, then restart redoubtd: the journal replays what is missing"}
	}
	return o.err
}
