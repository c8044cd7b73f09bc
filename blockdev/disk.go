package blockdev

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
)

// disk is one disk of a group: the backing and, over it, two layers of newer
// content. New pieces go into active; frozen is what the applier is writing to
// the backing, and does not change until it is dropped as a whole.
type disk struct {
	info    redoubt.Disk // as it was opened; see size
	size    atomic.Uint64
	backing Backing
	quick   quickReader  // backing, or nil
	vector  vectorWriter // backing, or nil
	holes   dataMap      // backing, or nil
	gate    gate
	gone    atomic.Bool // removed from the group; its backing is closed or about to be
	touched atomic.Bool // the backing was written to since its last sync began

	mu      sync.RWMutex
	active  *intervals
	frozen  *intervals // nil when the applier rests
	changes uint64     // puts into active

	count   counters
	latency latencies
}

func newDisk(m Member) *disk {
	d := &disk{info: m.Disk, backing: m.Backing, active: new(intervals)}
	d.size.Store(m.Disk.Size)
	d.quick, _ = m.Backing.(quickReader)
	d.vector, _ = m.Backing.(vectorWriter)
	d.holes, _ = m.Backing.(dataMap)
	return d
}

// put lays a write that is in the journal over the disk. Calls follow the
// order of LSNs. w.Data is kept.
func (d *disk) put(w *redoubt.Write) {
	p := piece{off: w.Extent.Off, end: w.Extent.End()}
	switch {
	case w.Extent.Empty():
		return
	case w.Kind.Zeroes():
		p.punch = w.Kind == redoubt.KindTrim
	case w.Kind == redoubt.KindWrite, w.Kind == redoubt.KindCopy && len(w.Data) > 0:
		p.data = w.Data
	default:
		return
	}
	d.mu.Lock()
	d.active.put(p)
	d.changes++
	d.mu.Unlock()
}

// fill copies the content in memory over p, which lies at off, and appends the
// ranges that memory does not have to gaps. The caller holds d.mu.
func (d *disk) fill(p []byte, off uint64, gaps []redoubt.Extent) []redoubt.Extent {
	var buf [8]redoubt.Extent
	e := redoubt.Extent{Off: off, Len: uint64(len(p))}
	for _, g := range d.active.fill(p, off, e, buf[:0]) {
		gaps = d.frozen.fill(p, off, g, gaps)
	}
	return gaps
}

// read fills p with the newest content at off.
func (d *disk) read(p []byte, off uint64) error {
	_, err := d.readVia(p, off, func(p []byte, off uint64) (bool, error) {
		return true, d.backing.ReadAt(p, off)
	})
	return err
}

// tryRead is read, but gives up with false where the backing would wait.
func (d *disk) tryRead(p []byte, off uint64) bool {
	ok, _ := d.readVia(p, off, func(p []byte, off uint64) (bool, error) {
		return d.quick != nil && d.quick.TryReadAt(p, off), nil
	})
	return ok
}

// readVia looks into memory, reads what is missing from the backing, and looks
// again for what was written meanwhile: see gate.
func (d *disk) readVia(p []byte, off uint64, from func([]byte, uint64) (bool, error)) (bool, error) {
	var buf [8]redoubt.Extent
	d.mu.RLock()
	gaps := d.fill(p, off, buf[:0])
	if len(gaps) == 0 {
		d.mu.RUnlock()
		return true, nil
	}
	seen := d.changes
	turn := d.gate.enter()
	d.mu.RUnlock()
	defer d.gate.leave(turn)

	for _, g := range gaps {
		if ok, err := from(p[g.Off-off:g.End()-off], g.Off); !ok || err != nil {
			return ok, err
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.changes != seen {
		for _, g := range gaps {
			d.fill(p[g.Off-off:g.End()-off], g.Off, nil)
		}
	}
	return true, nil
}

// nextData returns the next range at or after from that may hold anything but zeros.
func (d *disk) nextData(from uint64) (redoubt.Extent, bool) {
	if from >= d.size.Load() {
		return redoubt.Extent{}, false
	}
	rest := redoubt.Extent{Off: from, Len: d.size.Load() - from}
	if d.holes == nil {
		return rest, true
	}
	// Inside the gate nothing leaves memory, so what memory does not have is in
	// the backing's map.
	turn := d.gate.enter()
	defer d.gate.leave(turn)
	best, ok := d.holes.NextData(from)
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, m := range []*intervals{d.active, d.frozen} {
		m.walk(rest, func(q piece) bool {
			if q.data == nil {
				return true
			}
			if !ok || q.off < best.Off {
				best, ok = redoubt.Extent{Off: q.off, Len: q.end - q.off}, true
			} else if q.off == best.Off {
				best.Len = max(best.Len, q.end-q.off)
			}
			return false
		})
	}
	return best, ok
}

// freeze makes the active layer the applier's. The frozen layer is empty by then.
func (d *disk) freeze() {
	d.mu.Lock()
	d.frozen, d.active = d.active, new(intervals)
	d.mu.Unlock()
}

// drop forgets the frozen layer, which the backing has.
func (d *disk) drop() {
	d.gate.pass()
	d.mu.Lock()
	d.frozen = nil
	d.mu.Unlock()
}

// pieces returns how many pieces are in memory.
func (d *disk) pieces() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	n := d.active.n
	if d.frozen != nil {
		n += d.frozen.n
	}
	return n
}

// applyVector is the most buffers given to one WritevAt (the system's IOV_MAX),
// applyBytes the most bytes.
const (
	applyVector = 1024
	applyBytes  = 4 << 20
)

// apply writes the frozen layer to the backing, in rising order, neighbours
// together. It returns the bytes of data written and the calls.
func (d *disk) apply() (bytes uint64, calls int, err error) {
	d.mu.RLock()
	m := d.frozen // immutable while it is here
	d.mu.RUnlock()
	if m.empty() {
		return 0, 0, nil
	}
	var bufs [][]byte
	var start, end uint64
	write := func() error {
		if len(bufs) == 0 {
			return nil
		}
		calls++
		bytes += end - start
		err := d.writeTogether(bufs, start, end)
		clear(bufs)
		bufs = bufs[:0]
		return err
	}
	var zero piece // pending zeros, to be joined
	zeroOut := func() error {
		if zero.end == zero.off {
			return nil
		}
		calls++
		e := redoubt.Extent{Off: zero.off, Len: zero.end - zero.off}
		zero.end = zero.off
		return d.backing.Zero(e, zero.punch)
	}
	for _, leaf := range m.leaves {
		for _, p := range leaf {
			if p.data == nil {
				if zero.end == p.off && zero.punch == p.punch && zero.end > zero.off {
					zero.end = p.end
					continue
				}
				if err := zeroOut(); err != nil {
					return bytes, calls, err
				}
				zero = p
				continue
			}
			if len(bufs) == applyVector || len(bufs) > 0 && (p.off != end || end-start+uint64(len(p.data)) > applyBytes) {
				if err := write(); err != nil {
					return bytes, calls, err
				}
			}
			if len(bufs) == 0 {
				start = p.off
			}
			bufs, end = append(bufs, p.data), p.end
		}
	}
	if err := write(); err != nil {
		return bytes, calls, err
	}
	if err := zeroOut(); err != nil {
		return bytes, calls, err
	}
	d.touched.Store(true) // after the writes: a sync that runs beside them does not cover them
	return bytes, calls, nil
}

func (d *disk) writeTogether(bufs [][]byte, start, end uint64) error {
	if len(bufs) == 1 {
		return d.backing.WriteAt(bufs[0], start)
	}
	if d.vector != nil {
		return d.vector.WritevAt(slices.Clone(bufs), start)
	}
	return d.backing.WriteAt(slices.Concat(bufs...), start)
}
