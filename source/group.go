package source

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/source/freeze"
)

// cursorName is the journal's cursor of the stream to the secondary site.
const cursorName = "target"

// keepName is the cursor that keeps what the secondary has without all of its
// redundancy. Only a writer has it.
const keepName = "whole"

// Group is one protection group at its source: its disks over one journal,
// their NBD exports, and what moves their writes to the secondary.
type Group struct {
	cfg     GroupConfig
	host    *Config
	log     *slog.Logger
	id      identity   // guarded by mu; its lists are replaced as a whole
	telling sync.Mutex // held while it is told which disks have left; taken before edit
	edit    sync.Mutex // held over a change of id; taken before mu

	journal *journal.Journal
	disks   *blockdev.Group
	server  *blockdev.Server
	socket  string
	// listening is the address of NBD over TCP, nil if there is none.
	listening net.Addr
	copy      *copier
	adds      *copier // of the disk that is being added
	verify    *verifier
	openedAt  time.Time
	outlook   outlook
	catchUp   *catchUp
	freezer   *freeze.Freezer

	barrier sync.Mutex // held over a step of a bookmark of several groups; before step and mu
	part    *partOf    // this group's part in one; guarded by barrier

	step  sync.Mutex    // held over a change of mode; taken before mu
	nudge chan struct{} // holds one while a follower shall ask at once
	acked chan struct{} // holds one when the secondary has acknowledged something

	mu        sync.Mutex // guards what follows; held for moments only
	role      Role
	hold      hold
	cursor    *journal.Cursor // of the secondary; nil while the group is unprotected
	changed   chan struct{}   // closed and replaced when role changes
	replica   *replica        // the reverse stream that is open, if any
	sender    *ship.Sender    // nil unless shipping
	welcome   *ship.Welcome   // what the secondary said last
	contactAt time.Time       // and when
	lease     lease
	lost      string   // why the secondary takes nothing from here
	receipt   *Receipt // what was lost, once fenced
	declared  map[redoubt.DiskID]declaration
	marks     Bookmarks            // without FrozenSince
	stop      stopped              // of a planned failover
	frozen    func() freeze.Report // thaws what was frozen for it; nil: nothing is
	askErr    error                // why the last question about it got no answer

	news chan struct{} // one token: the secondary may ask for something
}

func openGroup(host *Config, cfg GroupConfig) (g *Group, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = time.Second
	}
	g = &Group{cfg: cfg, host: host, log: host.Logger.With("group", string(cfg.Name)), changed: make(chan struct{}), nudge: make(chan struct{}, 1), acked: make(chan struct{}, 1), news: make(chan struct{}, 1), openedAt: host.Now()}
	var images []*blockdev.Image
	begun := g // a return of nil must not hide what is to be closed
	defer func() {
		if err == nil {
			return
		}
		for _, im := range images {
			err = errors.Join(err, im.Close())
		}
		err = errors.Join(err, begun.close())
	}()

	dir := host.groupDir(cfg.Name)
	if err := vfs.MakeDir(vfs.OS, dir, 2); err != nil {
		return nil, err
	}
	id, known, err := readIdentity(dir)
	if err != nil {
		return nil, err
	}
	lingers := slices.Clone(id.Lingers)
	cfg.Disks = id.linger(cfg.Disks)
	if g.cfg = cfg; len(id.Lingers) > 0 {
		g.log.Warn("the configuration still names disks that were removed; they are not served", "disks", id.Lingers, "hint", "take them out; to protect such a disk again, do that, reload, and put it in again")
	}
	if err := g.openFreezer(dir); err != nil {
		return nil, err
	}
	var disks []redoubt.Disk
	for _, d := range cfg.Disks {
		im, err := blockdev.OpenImage(d.Path, 0)
		if err != nil {
			return nil, err
		}
		images = append(images, im)
		disks = append(disks, redoubt.Disk{Name: d.Name, Size: im.Size()})
	}
	if err := id.settle(dir, known, disks); err != nil {
		return nil, err
	}
	if g.id = id; !slices.Equal(lingers, id.Lingers) {
		if err := g.changeIdentity(func(*identity) {}); err != nil {
			return nil, err
		}
	}
	for i, im := range images {
		if have := im.Size(); have > disks[i].Size {
			g.log.Warn("the image is larger than the disk", "disk", disks[i].Name, "image", have, "size", disks[i].Size, "hint", "redoubt disk grow")
		}
		if err := im.Resize(disks[i].Size); err != nil {
			return nil, err
		}
	}
	if err := g.openJournal(dir); err != nil {
		return nil, err
	}
	if err := g.checkImages(disks, !known); err != nil {
		return nil, err
	}
	members := make([]blockdev.Member, len(disks))
	for i := range disks {
		members[i] = blockdev.Member{Disk: disks[i], Backing: images[i]}
	}
	images = nil // OpenGroup owns them, also when it fails
	g.openLease()
	o := blockdev.GroupOptions{Logger: g.log, Now: host.Now, MemoryLimit: cfg.MemoryLimit, FullWait: cfg.FullWait, ReadOnly: g.readOnlyError(), Gone: g.goneIDs()}
	g.catchUp = newCatchUp(g)
	if cfg.Track {
		o.FullWait, o.OnFull = max(o.FullWait, trackWait), g.catchUp.full
	}
	g.disks, err = blockdev.OpenGroup(g.journal, members, o)
	if err != nil {
		return nil, err
	}
	if err := g.endGrowth(); err != nil {
		return nil, err
	}
	if gap, ok := g.journal.Gap(); ok && gap.Lost != nil {
		if err := g.journal.DirtyAll(disks); err != nil {
			return nil, err
		}
	}
	g.copy, err = openCopier(g)
	if err != nil {
		return nil, err
	}
	if g.adds, err = openJoiner(g); err != nil {
		return nil, err
	}
	if g.verify, err = openVerifier(g); err != nil {
		return nil, err
	}
	return g, g.serve()
}

func (g *Group) openJournal(dir string) (err error) {
	g.journal, err = journal.Open(g.journalDir(dir), journal.Options{
		Now: g.host.Now, Logger: g.log, MaxBytes: g.cfg.JournalMax, SegmentSize: g.cfg.SegmentSize, Preallocate: g.cfg.Preallocate,
		Create: true, Start: redoubt.Position{Epoch: 1},
	})
	if err != nil {
		return err
	}
	if g.role, err = loadRole(g.journal); err != nil {
		return err
	}
	if g.stop, _, err = loadState[stopped](g, stopKey); err != nil {
		return err
	}
	if g.receipt, err = loadReceipt(dir); err != nil {
		return err
	}
	if err := g.sweepBranches(); err != nil {
		return err
	}
	if g.hold, _, err = loadState[hold](g, holdKey); err != nil {
		return err
	}
	if g.hold.State == stateUnprotected {
		if err := g.untie(); err != nil { // a crash may have come before it
			return err
		}
	} else if g.cursor, err = g.journal.Cursor(cursorName, 0); err != nil {
		return err
	}
	// A crash between the two steps of a takeover leaves the role ahead of the
	// journal; the role decides.
	if err := g.finishResync(); err != nil {
		return err
	}
	if g.role.Mode == ModeWriter && g.journal.Epoch() < g.role.Epoch {
		return g.journal.SetEpoch(g.role.Epoch)
	}
	return nil
}

func (g *Group) journalDir(dir string) string {
	if g.cfg.JournalDir != "" {
		return g.cfg.JournalDir
	}
	return filepath.Join(dir, "journal")
}

func noteFile(dir string) string { return filepath.Join(dir, "frozen.json") }

// run moves the group between its modes until ctx is done: each mode runs
// until the role changes, and the next one begins.
func (g *Group) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { g.watchJournal(ctx) })
	for ctx.Err() == nil {
		if err := g.resumeAnew(); err != nil {
			g.log.Error("the group could not begin anew", "err", err, "hint", redoubt.Hint(err))
			pause(ctx, retryAfter)
			continue
		}
		role, changed := g.currentRole()
		mctx, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-changed:
				cancel()
			case <-mctx.Done():
			}
		}()
		if role.Mode == ModeWriter {
			var wg sync.WaitGroup
			wg.Go(func() { g.runLease(mctx) })
			g.runWriter(mctx)
			cancel()
			wg.Wait()
		} else {
			g.runFollower(mctx)
		}
		cancel()
	}
}

func (g *Group) currentRole() (Role, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.role, g.changed
}

// secondary returns the cursor of what the secondary has, nil while the group
// is unprotected.
func (g *Group) secondary() *journal.Cursor {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cursor
}

// shipped returns the last LSN that is safe at the secondary, 0 while the group is
// unprotected.
func (g *Group) shipped() redoubt.LSN {
	if c := g.secondary(); c != nil {
		return c.Acked()
	}
	return 0
}

// Disks returns the group's disks as they are now. Do not change them.
func (g *Group) Disks() []redoubt.Disk {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.id.Disks
}

// Role returns the group's present role.
func (g *Group) Role() Role {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.role
}

// setRole makes r durable, then effective. The caller holds g.step.
func (g *Group) setRole(r Role) error {
	if err := r.save(g.journal); err != nil {
		return err
	}
	g.publish(r)
	return nil
}

// publish makes r effective: the mode that runs ends and r's begins. The caller
// holds g.step.
func (g *Group) publish(r Role) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.role = r
	close(g.changed)
	g.changed = make(chan struct{})
}

func (g *Group) close() error {
	var err error
	if g.freezer != nil { // first: thawing may need the disks
		err = g.freezer.Close()
	}
	if g.verify != nil {
		g.verify.close()
	}
	if g.server != nil {
		err = errors.Join(err, g.server.Close())
	}
	if g.disks != nil {
		err = errors.Join(err, g.disks.Close())
	}
	if g.journal != nil {
		err = errors.Join(err, g.journal.Close())
	}
	return err
}

func (g *Group) flush(upTo redoubt.LSN) error { return g.journal.Sync(context.Background(), upTo) }
