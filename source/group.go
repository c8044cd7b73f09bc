package source

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// cursorName is the journal's cursor of the stream to the secondary site.
const cursorName = "target"

// keepName is the cursor that keeps what the secondary has without all of its
// redundancy. Only a writer has it.
const keepName = "whole"

// Group is one protection group at its source: its disks over one journal,
// their NBD exports, and what moves their writes to the secondary.
type Group struct {
	cfg  GroupConfig
	host *Config
	log  *slog.Logger
	id   identity

	journal *journal.Journal
	disks   *blockdev.Group
	cursor  *journal.Cursor
	server  *blockdev.Server
	socket  string
	// listening is the address of NBD over TCP, nil if there is none.
	listening net.Addr
	copy      *copier

	step sync.Mutex // held over a change of mode; taken before mu

	mu        sync.Mutex // guards what follows; held for moments only
	role      Role
	changed   chan struct{} // closed and replaced when role changes
	replica   *replica      // the reverse stream that is open, if any
	sender    *ship.Sender  // nil unless shipping
	welcome   *ship.Welcome // what the secondary said last
	contactAt time.Time     // and when
	receipt   *Receipt      // what was lost, once fenced
	stop      stopped       // of a planned failover
	askErr    error         // why the last question about it got no answer

	news chan struct{} // one token: the secondary may ask for something
}

func openGroup(host *Config, cfg GroupConfig) (g *Group, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.PollInterval == 0 {
		cfg.PollInterval = time.Second
	}
	if cfg.FreezeTimeout == 0 {
		cfg.FreezeTimeout = defaultFreezeTimeout
	}
	g = &Group{cfg: cfg, host: host, log: host.Logger.With("group", string(cfg.Name)), changed: make(chan struct{}), news: make(chan struct{}, 1)}
	var images []*blockdev.Image
	defer func() {
		if err == nil {
			return
		}
		for _, im := range images {
			err = errors.Join(err, im.Close())
		}
		err = errors.Join(err, g.close())
	}()

	dir := host.groupDir(cfg.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var disks []redoubt.Disk
	for i, d := range cfg.Disks {
		im, err := blockdev.OpenImage(d.Path, 0)
		if err != nil {
			return nil, err
		}
		images = append(images, im)
		disks = append(disks, redoubt.Disk{ID: redoubt.DiskID(i + 1), Name: d.Name, Size: im.Size()})
	}
	if g.id, err = loadIdentity(dir, disks); err != nil {
		return nil, err
	}
	if err := g.openJournal(dir); err != nil {
		return nil, err
	}
	members := make([]blockdev.Member, len(disks))
	for i := range disks {
		members[i] = blockdev.Member{Disk: disks[i], Backing: images[i]}
	}
	images = nil // OpenGroup owns them, also when it fails
	g.disks, err = blockdev.OpenGroup(g.journal, members, blockdev.GroupOptions{
		Logger: g.log, Now: host.Now, MemoryLimit: cfg.MemoryLimit, FullWait: cfg.FullWait, ReadOnly: g.readOnlyError(),
	})
	if err != nil {
		return nil, err
	}
	g.copy, err = openCopier(g)
	if err != nil {
		return nil, err
	}
	return g, g.serve()
}

func (g *Group) openJournal(dir string) (err error) {
	jdir := g.cfg.JournalDir
	if jdir == "" {
		jdir = filepath.Join(dir, "journal")
	}
	g.journal, err = journal.Open(jdir, journal.Options{
		Now: g.host.Now, Logger: g.log, MaxBytes: g.cfg.JournalMax, SegmentSize: g.cfg.SegmentSize, Preallocate: g.cfg.Preallocate,
		Create: true, Start: redoubt.Position{Epoch: 1},
	})
	if err != nil {
		return err
	}
	if g.role, err = loadRole(g.journal); err != nil {
		return err
	}
	if g.stop, err = loadStopped(g.journal); err != nil {
		return err
	}
	if g.receipt, err = loadReceipt(dir); err != nil {
		return err
	}
	if g.cursor, err = g.journal.Cursor(cursorName, 0); err != nil {
		return err
	}
	// A crash between the two steps of a takeover leaves the role ahead of the
	// journal; the role decides.
	if g.role.Mode == ModeWriter && g.journal.Epoch() < g.role.Epoch {
		return g.journal.SetEpoch(g.role.Epoch)
	}
	return nil
}

// run moves the group between its modes until ctx is done: each mode runs
// until the role changes, and the next one begins.
func (g *Group) run(ctx context.Context) {
	for ctx.Err() == nil {
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
			g.runWriter(mctx)
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
