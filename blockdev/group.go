package blockdev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// Member is a disk of a group and where its content lies.
type Member struct {
	Disk    redoubt.Disk
	Backing Backing
}

// GroupOptions says how a group behaves. The zero value is usable.
type GroupOptions struct {
	Logger *slog.Logger
	Now    func() time.Time
	// MemoryLimit bounds the bytes that unapplied writes hold; writers wait
	// when it is reached. Default 256 MiB, at least 4 MiB.
	MemoryLimit int64
	// ApplyInterval is the longest time that a write stays unapplied while the
	// backing keeps up. Default 500 ms.
	ApplyInterval time.Duration
	// SyncInterval and SyncBytes bound what is in the backings and not yet
	// durable there: the journal keeps it. Defaults 10 s, and half of the
	// journal but at most 2 GiB.
	SyncInterval time.Duration
	SyncBytes    int64
	// FullWait is how long a write waits for room in the journal before it
	// fails with redoubt.ErrJournalFull, once nothing waits for the backings
	// any more. Default 0: it fails at once then.
	FullWait time.Duration
	// OnFull, if not nil, is called when a write finds the journal full, with the
	// order held: it must not block. The write waits all the same.
	OnFull func()
	// ReadOnly, if not nil, is what clients' writes fail with from the start.
	ReadOnly error
	// Gone are disks whose records the journal may still have, but that were
	// removed: they are in their backings already.
	Gone []redoubt.DiskID
}

func (o *GroupOptions) setDefaults(journalMax int64) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemoryLimit == 0 {
		o.MemoryLimit = 256 << 20
	}
	o.MemoryLimit = max(o.MemoryLimit, 4<<20)
	if o.ApplyInterval <= 0 {
		o.ApplyInterval = 500 * time.Millisecond
	}
	if o.SyncInterval <= 0 {
		o.SyncInterval = 10 * time.Second
	}
	if o.SyncBytes <= 0 {
		o.SyncBytes = min(journalMax/2, 2<<30)
	}
}

// Group is all disks of one protection group over one journal: one order of
// writes for all of them. All methods may be called concurrently.
type Group struct {
	j       *journal.Journal
	log     *slog.Logger
	o       GroupOptions
	volumes []*Volume
	byID    map[redoubt.DiskID]*disk
	chunks  chunkPool
	kick    chan struct{} // asks the applier for a round now
	syncNow chan struct{} // asks the syncer
	stop    chan struct{} // closed when both shall end
	ends    sync.WaitGroup
	opened  time.Time

	// mu is the order of the group: an LSN is given and its write laid over
	// the disk without letting mu go in between.
	mu       sync.Mutex
	recent   recent
	head     redoubt.LSN // last record that is in the journal and in memory
	written  redoubt.LSN // last record that is in the backings
	applied  redoubt.LSN // last record that is in the backings, synced
	active   int64       // bytes held by writes after the last freeze
	used     int64       // bytes held by all unapplied writes
	unsynced int64       // bytes that went to the backings since the last sync began
	syncing  int64       // bytes that the sync under way makes durable
	since    stages      // when the oldest write of each stage came
	rounds   uint64
	waiting  int
	stopped  int // nothing enters the order while it is not 0
	holds    int // how many hold clients' writes back
	readOnly error
	expiry   expiry
	failed   error // latched
	closed   bool
	changed  chan struct{} // closed and replaced when any of the above lets a waiter go on
}

// OpenGroup opens the disks over j, brings what is in the journal but not in
// the backings into memory, and starts the applier. The group owns the
// backings from now on, also when it fails; the journal stays the caller's.
func OpenGroup(j *journal.Journal, members []Member, o GroupOptions) (*Group, error) {
	o.setDefaults(j.Stats().MaxBytes)
	g := &Group{
		j: j, log: o.Logger, o: o, opened: time.Now(), byID: make(map[redoubt.DiskID]*disk),
		kick: make(chan struct{}, 1), syncNow: make(chan struct{}, 1), stop: make(chan struct{}),
		changed: make(chan struct{}), readOnly: asReadOnly(o.ReadOnly),
	}
	g.chunks.keep = int(o.MemoryLimit / 2 / largeChunk)
	for _, m := range members {
		d := newDisk(m)
		g.volumes = append(g.volumes, &Volume{g: g, disk: d})
		if err := checkMember(m, g.byID); err != nil {
			g.closeBackings()
			return nil, err
		}
		g.byID[m.Disk.ID] = d
	}
	if err := g.replay(); err != nil {
		g.closeBackings()
		return nil, err
	}
	g.ends.Add(2)
	go g.applier()
	go g.syncer()
	return g, nil
}

func checkMember(m Member, known map[redoubt.DiskID]*disk) error {
	fail := func(err error, hint string) error {
		return &redoubt.Error{Op: "open group", Object: m.Disk.Name, Hint: hint, Err: err}
	}
	if err := redoubt.ValidName("disk", m.Disk.Name); err != nil {
		return err
	}
	switch size := m.Backing.Size(); {
	case m.Disk.ID == 0 || known[m.Disk.ID] != nil:
		return fail(fmt.Errorf("disk id %d is 0 or used twice: %w", m.Disk.ID, redoubt.ErrInvalid), "")
	case size != m.Disk.Size || size%redoubt.SectorSize != 0 || size > redoubt.MaxDiskSize:
		return fail(fmt.Errorf("its backing has %d bytes, the disk %d: %w", size, m.Disk.Size, redoubt.ErrState),
			"a protected disk cannot be resized behind Redoubt's back")
	}
	for _, d := range known {
		if d.info.Name == m.Disk.Name {
			return fail(fmt.Errorf("name used twice: %w", redoubt.ErrInvalid), "")
		}
	}
	return nil
}

// errPause ends a pass of replay when memory is full.
var errPause = errors.New("pause")

// replay lays the journal's unapplied records over the disks. Nobody else uses
// the group yet.
func (g *Group) replay() error {
	g.applied = g.j.Applied()
	g.chunks.release(g.applied)
	head := g.j.Head().LSN
	g.head, g.written = g.applied, g.applied
	for g.head < head {
		from := g.head
		err := g.j.Replay(from+1, func(w *redoubt.Write) error {
			if g.used >= g.o.MemoryLimit/2 && w.LSN != g.head {
				return errPause
			}
			// The parts of a copied extent share an LSN.
			if w.LSN != g.head+1 && (w.LSN != g.head || g.head == from) {
				return &redoubt.Error{Op: "replay journal", Object: w.LSN.String(), Err: fmt.Errorf("expected %d: %w", g.head+1, redoubt.ErrGap)}
			}
			if !slices.Contains(g.o.Gone, w.Disk) {
				if err := g.check(w); err != nil {
					return err
				}
			}
			g.insert(w) // its data is ours to keep
			return nil
		})
		if err != nil && !errors.Is(err, errPause) {
			return err
		}
		if err == nil && g.head < head {
			return &redoubt.Error{Op: "replay journal", Object: g.head.String(), Err: fmt.Errorf("ends before its head %d: %w", head, redoubt.ErrCorrupt)}
		}
		if g.used >= g.o.MemoryLimit/2 {
			if err := g.round(); err != nil {
				return err
			}
		}
	}
	if g.head > g.applied {
		g.log.Info("journal replayed", "applied", g.applied, "head", g.head, "bytes", g.used)
	}
	return nil
}

// Volume returns the disk with that name.
func (g *Group) Volume(name string) (*Volume, bool) {
	for _, v := range g.present() {
		if v.disk.info.Name == name {
			return v, true
		}
	}
	return nil, false
}

// Volumes returns all disks, in the order in which they were given.
func (g *Group) Volumes() []*Volume { return g.present() }

// Journal returns the group's journal.
func (g *Group) Journal() *journal.Journal { return g.j }

// SetReadOnly makes clients' writes fail with err from now on, or lets them
// pass again if err is nil. When it returns, no write of a client is on its way
// into the journal, and none that failed will get there.
func (g *Group) SetReadOnly(err error) {
	g.mu.Lock()
	g.readOnly = asReadOnly(err)
	g.wake()
	g.mu.Unlock()
}

// asReadOnly lets callers test for redoubt.ErrReadOnly whatever the reason is.
func asReadOnly(err error) error {
	if err == nil || errors.Is(err, redoubt.ErrReadOnly) {
		return err
	}
	return fmt.Errorf("%w: %w", redoubt.ErrReadOnly, err)
}

// ReadOnly returns what clients' writes fail with, or nil.
func (g *Group) ReadOnly() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readOnly
}

// Err returns the latched failure, or nil. After a failure of a backing or of
// the journal no write and no flush succeeds until the group is opened again.
func (g *Group) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.failed
}

// wake lets everybody who waits look again. The caller holds g.mu.
func (g *Group) wake() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// fail latches the first failure. The caller does not hold g.mu.
func (g *Group) fail(op string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return
	}
	g.failed = &redoubt.Error{Op: op, Err: fmt.Errorf("%w: %w", redoubt.ErrFailed, err),
		Hint: "repair the disk or the file system, then restart redoubtd: the journal has every acknowledged write"}
	g.log.Error("group failed; no write succeeds until it is opened again", "op", op, "err", err)
	g.wake()
}

// ReadCurrent fills p with the newest content of disk d at off.
func (g *Group) ReadCurrent(d redoubt.DiskID, p []byte, off uint64) error {
	dk, err := g.disk("read disk", d, redoubt.Extent{Off: off, Len: uint64(len(p))})
	if err != nil {
		return err
	}
	return dk.read(p, off)
}

// NextData returns the next range of disk d, at or after from, that may hold
// anything but zeros, or false if there is none.
func (g *Group) NextData(d redoubt.DiskID, from uint64) (redoubt.Extent, bool) {
	dk := g.byID[d]
	if dk == nil || dk.gone.Load() {
		return redoubt.Extent{}, false
	}
	return dk.nextData(from)
}

func (g *Group) disk(op string, id redoubt.DiskID, e redoubt.Extent) (*disk, error) {
	d := g.byID[id]
	if d == nil || d.gone.Load() {
		return nil, &redoubt.Error{Op: op, Object: id.String(), Err: redoubt.ErrNotFound}
	}
	if !e.Within(d.size.Load()) {
		return nil, &redoubt.Error{Op: op, Object: d.info.Name + " " + e.String(), Err: redoubt.ErrOutOfRange}
	}
	return d, nil
}

// Close refuses new writes, applies what is left unless the group has failed,
// and closes the backings. Servers that export its volumes are closed first.
// The journal stays open; whatever was not applied is replayed at the next open.
func (g *Group) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		g.ends.Wait()
		return nil
	}
	g.closed = true
	g.wake()
	failed := g.failed
	g.mu.Unlock()
	var err error
	if failed == nil {
		err = g.Drain(context.Background())
	}
	close(g.stop)
	g.ends.Wait()
	return errors.Join(err, g.closeBackings())
}

func (g *Group) closeBackings() error {
	var errs []error
	for _, v := range g.present() {
		errs = append(errs, v.disk.backing.Close())
	}
	return errors.Join(errs...)
}
