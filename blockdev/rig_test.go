package blockdev

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// memBacking is a Backing in memory that can tell what a power cut would leave
// of it: unsynced sectors are kept or lost one by one.
type memBacking struct {
	power *power

	mu     sync.RWMutex
	now    []byte
	stable []byte
	dirty  map[int]bool // sectors that differ in durability
	fail   error        // what writes and syncs return, if not nil
}

// power cuts the current at a chosen operation of any backing.
type power struct {
	mu  sync.Mutex
	at  int // operations to go; the cut is at 0
	cut func()
}

// op runs before each operation that changes a backing.
func (p *power) op() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at--; p.at == 0 {
		p.cut()
	}
}

func newMemBacking(size int, p *power) *memBacking {
	return &memBacking{power: p, now: make([]byte, size), stable: make([]byte, size), dirty: map[int]bool{}}
}

func (b *memBacking) touch(off, n int) {
	for s := off / redoubt.SectorSize; s*redoubt.SectorSize < off+n; s++ {
		b.dirty[s] = true
	}
}

func (b *memBacking) ReadAt(p []byte, off uint64) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	copy(p, b.now[off:off+uint64(len(p))])
	return nil
}

func (b *memBacking) WriteAt(p []byte, off uint64) error {
	b.power.op()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	copy(b.now[off:off+uint64(len(p))], p)
	b.touch(int(off), len(p))
	return nil
}

func (b *memBacking) Zero(e redoubt.Extent, _ bool) error {
	return b.WriteAt(make([]byte, e.Len), e.Off)
}

func (b *memBacking) Sync() error {
	b.power.op()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return b.fail
	}
	for s := range b.dirty {
		off := s * redoubt.SectorSize
		copy(b.stable[off:off+redoubt.SectorSize], b.now[off:])
	}
	clear(b.dirty)
	return nil
}

func (b *memBacking) Size() uint64 { return uint64(len(b.now)) }
func (b *memBacking) Close() error { return nil }

func (b *memBacking) setFail(err error) {
	b.mu.Lock()
	b.fail = err
	b.mu.Unlock()
}

// after returns what a power cut now would leave.
func (b *memBacking) after(rng *rand.Rand) *memBacking {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := newMemBacking(len(b.now), nil)
	copy(out.now, b.stable)
	for s := range len(b.now) / redoubt.SectorSize { // in order, so that a seed repeats
		if b.dirty[s] && rng.IntN(2) == 0 {
			off := s * redoubt.SectorSize
			copy(out.now[off:off+redoubt.SectorSize], b.now[off:])
		}
	}
	copy(out.stable, out.now)
	return out
}

// rig is a group of memory disks over a journal in a memory file system.
type rig struct {
	fs    *vfs.Mem
	over  func(vfs.FS) vfs.FS // nil: fs as it is
	disks []*memBacking
	wrap  func(*memBacking) Backing // nil: as they are
	o     GroupOptions
	j     *journal.Journal
	g     *Group
}

func journalOptions(fs vfs.FS) journal.Options {
	return journal.Options{FS: fs, SegmentSize: 1 << 20, MaxBytes: 64 << 20, Start: redoubt.Position{Epoch: 1}, Create: true}
}

func newRig(t failer, o GroupOptions, p *power, sizes ...int) *rig {
	t.Helper()
	r := &rig{fs: vfs.NewMem(), o: o}
	for _, n := range sizes {
		r.disks = append(r.disks, newMemBacking(n, p))
	}
	r.open(t)
	return r
}

func (r *rig) open(t failer) {
	t.Helper()
	var err error
	var fs vfs.FS = r.fs
	if r.over != nil {
		fs = r.over(fs)
	}
	if r.j, err = journal.Open("/journal", journalOptions(fs)); err != nil {
		t.Fatalf("open journal: %v", err)
	}
	r.openGroup(t)
}

// openGroup opens the disks over the journal.
func (r *rig) openGroup(t failer) {
	t.Helper()
	var ms []Member
	for i, b := range r.disks {
		var backing Backing = b
		if r.wrap != nil {
			backing = r.wrap(b)
		}
		ms = append(ms, Member{Backing: backing, Disk: redoubt.Disk{ID: redoubt.DiskID(i + 1), Name: fmt.Sprintf("d%d", i+1), Size: b.Size()}})
	}
	var err error
	if r.g, err = OpenGroup(r.j, ms, r.o); err != nil {
		t.Fatalf("open group: %v", err)
	}
}

// abandon ends the group's goroutine without applying anything more.
func (g *Group) abandon() {
	g.mu.Lock()
	g.closed = true
	g.wake()
	g.mu.Unlock()
	close(g.stop)
	g.ends.Wait()
}

// kill is kill -9: nothing is applied or closed in an orderly way, what the
// system had been given stays.
func (r *rig) kill() {
	r.g.abandon()
	r.fs = r.fs.Kill()
	r.j.Close() // fails; frees the goroutines only
}

func (r *rig) close(t failer) {
	t.Helper()
	if err := r.g.Close(); err != nil {
		t.Fatalf("close group: %v", err)
	}
	if err := r.j.Close(); err != nil {
		t.Fatalf("close journal: %v", err)
	}
}

// content reads a whole disk through its volume.
func content(t failer, v *Volume) []byte {
	t.Helper()
	p := make([]byte, v.Disk().Size)
	if err := v.ReadAt(p, 0); err != nil {
		t.Fatalf("read %s: %v", v.Disk().Name, err)
	}
	return p
}

// records returns everything that the journal has after LSN after.
func records(t failer, j *journal.Journal, after redoubt.LSN) []redoubt.Write {
	t.Helper()
	var out []redoubt.Write
	err := j.Replay(after+1, func(w *redoubt.Write) error {
		own := *w
		own.Data = bytes.Clone(w.Data)
		out = append(out, own)
		return nil
	})
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	return out
}

// play applies records up to LSN upTo to plain bytes: what the disks must be.
func play(disks [][]byte, ws []redoubt.Write, upTo redoubt.LSN) {
	for _, w := range ws {
		if w.LSN > upTo {
			return
		}
		switch {
		case w.Kind.Zeroes():
			clear(disks[w.Disk-1][w.Extent.Off:w.Extent.End()])
		case w.Kind == redoubt.KindWrite:
			copy(disks[w.Disk-1][w.Extent.Off:w.Extent.End()], w.Data)
		}
	}
}

// differ tells where a and b differ first, or "" if they do not.
func differ(a, b []byte) string {
	for i := range a {
		if a[i] != b[i] {
			return fmt.Sprintf("byte %d is %#x, want %#x", i, a[i], b[i])
		}
	}
	return ""
}

var background = context.Background()
