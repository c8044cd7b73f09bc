package oracle

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/redoubt-dr/redoubt"
)

// Op is one change of a workload.
type Op struct {
	Disk   redoubt.Disk
	Kind   redoubt.Kind
	Extent redoubt.Extent
	Data   []byte // valid until the next Next
	FUA    bool
	Flush  bool // flush the disk after the change
}

// Mix says what a workload does; shares are in percent, the rest are writes.
type Mix struct {
	Zero, Trim, FUA, Flush int
	Hot                    int    // percent of changes that go to the hot tenth of a disk
	MaxLen                 uint64 // longest change in bytes; default redoubt.MaxWriteData
}

// DefaultMix returns a mix of everything: 85 % writes, sizes from 512 bytes
// to 256 KiB (most are small), hot spots, some flushes.
func DefaultMix() Mix { return Mix{Zero: 6, Trim: 6, FUA: 3, Flush: 2, Hot: 60} }

// Workload makes the same changes for the same seed. It is for one goroutine.
type Workload struct {
	rng   *rand.Rand
	src   *rand.ChaCha8
	disks []redoubt.Disk
	mix   Mix
	buf   []byte
}

// NewWorkload makes a workload over disks.
func NewWorkload(seed uint64, disks []redoubt.Disk, mix Mix) *Workload {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	src := rand.NewChaCha8(key)
	if mix.MaxLen == 0 {
		mix.MaxLen = redoubt.MaxWriteData
	}
	return &Workload{rng: rand.New(src), src: src, disks: disks, mix: mix, buf: make([]byte, mix.MaxLen)}
}

// Next returns the next change.
func (w *Workload) Next() Op {
	d := w.disks[w.rng.IntN(len(w.disks))]
	op := Op{Disk: d, Kind: redoubt.KindWrite, Extent: w.extent(d.Size)}
	switch p := w.rng.IntN(100); {
	case p < w.mix.Zero:
		op.Kind = redoubt.KindZero
	case p < w.mix.Zero+w.mix.Trim:
		op.Kind = redoubt.KindTrim
	default:
		op.Data = w.data(int(op.Extent.Len))
	}
	op.FUA = w.rng.IntN(100) < w.mix.FUA
	op.Flush = w.rng.IntN(100) < w.mix.Flush
	return op
}

// extent picks a length (each power of two as likely as the next, then any
// number of sectors up to it) and a place.
func (w *Workload) extent(size uint64) redoubt.Extent {
	limit := min(w.mix.MaxLen, size) / redoubt.SectorSize
	top := uint64(1)
	for top < limit && w.rng.IntN(10) < 7 {
		top *= 2
	}
	n := (w.rng.Uint64N(min(top, limit)) + 1) * redoubt.SectorSize
	span := size
	if w.rng.IntN(100) < w.mix.Hot {
		span = max(size/10, n)
	}
	return redoubt.Extent{Off: w.rng.Uint64N((span-n)/redoubt.SectorSize+1) * redoubt.SectorSize, Len: n}
}

// data fills n bytes: half of the changes do not compress, half do; no two are alike.
func (w *Workload) data(n int) []byte {
	p := w.buf[:n]
	if w.rng.IntN(2) == 0 {
		w.src.Read(p)
		return p
	}
	word := w.rng.Uint64() | 1
	for i := 0; i+8 <= n; i += 8 {
		binary.LittleEndian.PutUint64(p[i:], word+uint64(i)>>6)
	}
	return p
}

// Do sends the change.
func (op *Op) Do(c *Client) error {
	var err error
	switch op.Kind {
	case redoubt.KindWrite:
		err = c.Write(op.Data, op.Extent.Off, op.FUA)
	case redoubt.KindZero:
		err = c.Zero(op.Extent.Off, uint32(op.Extent.Len), op.FUA)
	default:
		err = c.Trim(op.Extent.Off, uint32(op.Extent.Len))
	}
	if err == nil && op.Flush {
		err = c.Flush()
	}
	return err
}
