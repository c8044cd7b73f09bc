package crashtest

import (
	"math/rand/v2"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// memDisk is a blockdev.Backing in memory. A power cut keeps or loses each
// unsynced sector on its own.
type memDisk struct {
	p *power

	mu     sync.RWMutex
	now    []byte
	stable []byte
	dirty  map[uint64]bool // sectors whose newest content is not durable
}

func newMemDisk(content []byte) *memDisk {
	return &memDisk{now: content, stable: append([]byte(nil), content...), dirty: map[uint64]bool{}}
}

// Size implements blockdev.Backing.
func (d *memDisk) Size() uint64 { return uint64(len(d.now)) }

// Close implements blockdev.Backing.
func (d *memDisk) Close() error { return nil }

// ReadAt implements blockdev.Backing.
func (d *memDisk) ReadAt(p []byte, off uint64) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	copy(p, d.now[off:off+uint64(len(p))])
	return nil
}

// WriteAt implements blockdev.Backing.
func (d *memDisk) WriteAt(p []byte, off uint64) error {
	return d.p.do(step{
		whole: func() error { d.put(p, off); return nil },
		half:  func() { d.put(p[:len(p)/2], off) },
	})
}

// Zero implements blockdev.Backing.
func (d *memDisk) Zero(e redoubt.Extent, _ bool) error { return d.WriteAt(make([]byte, e.Len), e.Off) }

// Sync implements blockdev.Backing.
func (d *memDisk) Sync() error {
	return d.p.do(step{
		whole: func() error { d.settle(); return nil },
		forget: func() {
			d.mu.Lock()
			clear(d.dirty)
			d.mu.Unlock()
		},
	})
}

func (d *memDisk) put(p []byte, off uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.now[off:], p)
	for s := off / redoubt.SectorSize; s*redoubt.SectorSize < off+uint64(len(p)); s++ {
		d.dirty[s] = true
	}
}

func (d *memDisk) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.dirty {
		copy(d.sector(d.stable, s), d.sector(d.now, s))
	}
	clear(d.dirty)
}

func (d *memDisk) sector(b []byte, s uint64) []byte {
	return b[s*redoubt.SectorSize : (s+1)*redoubt.SectorSize]
}

// afterCut returns the disk as a power cut leaves it.
func (d *memDisk) afterCut(rng *rand.Rand) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := append([]byte(nil), d.stable...)
	for s := range d.Size() / redoubt.SectorSize { // in order, so that a seed repeats
		if d.dirty[s] && rng.IntN(2) == 0 {
			copy(d.sector(out, s), d.sector(d.now, s))
		}
	}
	return newMemDisk(out)
}

// afterKill returns the disk as the next process finds it: everything is
// there, what was not synced still is not.
func (d *memDisk) afterKill() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &memDisk{now: d.now, stable: d.stable, dirty: d.dirty}
}

// durable returns what is on the disk for certain.
func (d *memDisk) durable() []byte {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return append([]byte(nil), d.stable...)
}
