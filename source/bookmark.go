package source

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/source/freeze"
)

// BookmarkKind says how consistent a bookmark shall be.
type BookmarkKind int

// The kinds of a bookmark.
const (
	BookmarkCrash      BookmarkKind = iota // the moment of the call
	BookmarkApp                            // everything at rest, or no bookmark
	BookmarkAppOrCrash                     // at rest if that can be had
)

// Bookmarked is a bookmark that was placed.
type Bookmarked struct {
	Position redoubt.Position
	Time     time.Time
	App      bool // application-consistent
	// Hooks is how the hooks went, if there were any. Its Err is set if
	// something could not be thawed: the bookmark is good all the same.
	Hooks freeze.Report
	Why   error // why App was wanted and is not; nil otherwise
}

// Bookmarks counts a group's bookmarks since its daemon's start.
type Bookmarks struct {
	App, Crash, Failed uint64
	Frozen             time.Duration // sum
	LastFrozen         time.Duration
	LastApp            time.Time // when the last application-consistent one was placed
	FrozenSince        time.Time // zero: nothing is frozen now
	Err                error     // why the last one failed or is not what was wanted; nil: it is
}

// Bookmark names the present position and returns it, once it is durable here.
func (g *Group) Bookmark(ctx context.Context, name string, kind BookmarkKind) (Bookmarked, error) {
	if err := redoubt.ValidName("bookmark", name); err != nil {
		return Bookmarked{}, err
	}
	if err := g.mayMark(name); err != nil {
		return Bookmarked{}, err
	}
	var b Bookmarked
	var err error
	if kind != BookmarkCrash {
		b, err = g.markAtRest(ctx, redoubt.Bookmark{Name: name, App: true})
	}
	if kind == BookmarkCrash || kind == BookmarkAppOrCrash && err != nil {
		why, hooks := err, b.Hooks
		b, err = g.mark(ctx, redoubt.Bookmark{Name: name}, nil)
		b.Why, b.Hooks = why, hooks
	}
	g.countMark(&b, err)
	return b, err
}

func (g *Group) mayMark(name string) error {
	if s, stopped := g.held(); stopped { // its last write is its last record
		return g.stopError(s.Job)
	}
	if r := g.Role(); r.Mode != ModeWriter {
		return &redoubt.Error{Op: "add bookmark", Object: name, Err: redoubt.ErrState, Hint: "this host is not the group's writer at present"}
	}
	if g.journal.GivenUp() != 0 {
		return &redoubt.Error{Op: "add bookmark", Object: name, Err: redoubt.ErrState, Hint: "the journal overflowed: there is no recovery point until the secondary has caught up"}
	}
	return nil
}

// markAtRest freezes, places b and thaws, whatever happens in between.
func (g *Group) markAtRest(ctx context.Context, b redoubt.Bookmark) (out Bookmarked, err error) {
	z, hooks, err := g.freezer.Freeze(ctx, b.Name)
	if err != nil {
		return Bookmarked{Hooks: hooks}, err
	}
	defer func() { out.Hooks = z.Thaw() }() // also if what follows panics
	return g.mark(ctx, b, z.Check)
}

// mark places b, if ready still says so, and makes it durable.
func (g *Group) mark(ctx context.Context, b redoubt.Bookmark, ready func() error) (Bookmarked, error) {
	w, err := g.disks.AppendMark(ctx, b, ready)
	if err != nil {
		return Bookmarked{}, err
	}
	if err := g.journal.Sync(ctx, w.LSN); err != nil {
		return Bookmarked{}, err
	}
	return Bookmarked{Position: redoubt.Position{Epoch: g.journal.Epoch(), LSN: w.LSN}, Time: w.When(), App: b.App}, nil
}

func (g *Group) countMark(b *Bookmarked, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &g.marks
	switch {
	case err != nil:
		m.Failed++
	case b.App:
		m.App++
		m.LastApp = b.Time
	default:
		m.Crash++
	}
	if len(b.Hooks.Steps) > 0 {
		m.LastFrozen = b.Hooks.Frozen
		m.Frozen += b.Hooks.Frozen
	}
	m.Err = errors.Join(err, b.Why, b.Hooks.Err)
}

// Bookmarks returns the counters.
func (g *Group) Bookmarks() Bookmarks {
	since, _ := g.freezer.Frozen()
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.marks
	m.FrozenSince = since
	return m
}

// Freeze brings what the group's hooks name to rest, and returns what lets it
// go on; without hooks both do nothing. thaw must be called, and may be called
// again. After hooks.hold everything is thawed anyway.
func (g *Group) Freeze(ctx context.Context, name string) (thaw func() freeze.Report, err error) {
	if g.freezer.Empty() {
		return func() freeze.Report { return freeze.Report{} }, nil
	}
	z, _, err := g.freezer.Freeze(ctx, name)
	if err != nil {
		return nil, err
	}
	return z.Thaw, nil
}

// openFreezer thaws what an earlier life has left frozen.
func (g *Group) openFreezer(dir string) (err error) {
	o := freeze.Options{
		Group: string(g.cfg.Name), Mounts: g.cfg.Hooks.Mounts, Scripts: g.cfg.Hooks.Scripts, Step: g.cfg.Hooks.Time, Hold: g.cfg.Hooks.Hold,
		Note: noteFile(dir), Own: []string{g.host.DataDir, g.host.RunDir, g.journalDir(dir)}, Logger: g.log,
		Env: []string{"REDOUBT_HOST=" + g.host.Name},
	}
	for _, d := range g.cfg.Disks {
		o.Own = append(o.Own, d.Path)
	}
	g.freezer, err = freeze.Open(o)
	if g.freezer == nil {
		return err
	}
	if err != nil {
		g.log.Error("what an earlier run has frozen could not be thawed", "err", err, "hint", redoubt.Hint(err))
	}
	return nil
}
