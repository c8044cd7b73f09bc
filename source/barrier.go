package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/source/freeze"
)

// partOf is this group's part in a bookmark of several groups. It ends with
// Release or Abort, or by itself: the hold at its limit, the hooks at theirs.
type partOf struct {
	mark   redoubt.Bookmark
	frozen *freeze.Frozen // nil: without hooks
	hold   *blockdev.Hold // nil until BarrierHold
	at     redoubt.Position
	when   time.Time // of the record at
}

// Released says how a group's part in a bookmark of several groups went.
type Released struct {
	Position redoubt.Position
	Held     time.Duration
	Hooks    freeze.Report // empty without hooks
}

func barrierError(name string, err error, hint string) error {
	return &redoubt.Error{Op: "take part in bookmark", Object: name, Err: err, Hint: hint}
}

// over reports whether nobody waits for b any more.
func (b *partOf) over() bool {
	return (b.hold == nil || b.hold.Check() != nil) && (b.frozen == nil || b.frozen.Check() != nil)
}

// join begins the group's part, or finds it. One set at a time.
func (g *Group) join(m redoubt.Bookmark) (*partOf, error) {
	if err := redoubt.ValidName("bookmark", m.Name); err != nil {
		return nil, err
	}
	if m.Set.IsZero() {
		return nil, barrierError(m.Name, redoubt.ErrInvalid, "it names no set")
	}
	if err := g.mayMark(m.Name); err != nil {
		return nil, err
	}
	switch b := g.part; {
	case b == nil || b.mark.Set != m.Set && b.over():
		g.part = &partOf{mark: m}
	case b.mark.Set != m.Set:
		return nil, barrierError(m.Name, fmt.Errorf("the group takes part in %s: %w", b.mark.Name, redoubt.ErrState), "try again when that is done")
	}
	return g.part, nil
}

// BarrierFreeze runs the freeze hooks; m.Set names the set. Everything is
// thawed by Release, Abort, or when the hooks' limit is over.
func (g *Group) BarrierFreeze(ctx context.Context, m redoubt.Bookmark) (freeze.Report, error) {
	g.barrier.Lock()
	defer g.barrier.Unlock()
	b, err := g.join(m)
	if err != nil || b.frozen != nil {
		return freeze.Report{}, err
	}
	z, r, err := g.freezer.Freeze(ctx, m.Name)
	if err != nil {
		g.part = nil
		g.countMark(&Bookmarked{Hooks: r}, err)
		return r, err
	}
	b.frozen = z
	return r, nil
}

// BarrierHold holds clients' writes back, for limit at most, and places the
// bookmark. Nobody sees the bookmark until the secondary's catalog has the set.
func (g *Group) BarrierHold(ctx context.Context, m redoubt.Bookmark, limit time.Duration) (redoubt.Position, error) {
	g.barrier.Lock()
	defer g.barrier.Unlock()
	b, err := g.join(m)
	if err != nil {
		return redoubt.Position{}, err
	}
	if b.hold != nil {
		return b.at, b.hold.Check()
	}
	if b.hold, err = g.disks.Hold(limit); err != nil {
		g.leave()
		return redoubt.Position{}, err
	}
	b.mark.App = b.frozen != nil
	w, err := g.disks.AppendMark(ctx, b.mark, func() error {
		if b.frozen != nil {
			if err := b.frozen.Check(); err != nil {
				return err
			}
		}
		return b.hold.Check()
	})
	if err != nil {
		g.countMark(&Bookmarked{Hooks: g.leave()}, err)
		return redoubt.Position{}, err
	}
	b.at, b.when = redoubt.Position{Epoch: g.journal.Epoch(), LSN: w.LSN}, w.When()
	return b.at, nil
}

// BarrierRelease lets everything go on. If it returns nil the writes were held
// back from BarrierHold until this call, and the bookmark is durable.
func (g *Group) BarrierRelease(ctx context.Context, set redoubt.SetID) (Released, error) {
	g.barrier.Lock()
	defer g.barrier.Unlock()
	b := g.part
	if b == nil || b.mark.Set != set || b.hold == nil {
		return Released{}, barrierError(set.String(), fmt.Errorf("the group does not take part: %w", redoubt.ErrState), "its part was given up, or the daemon has started again")
	}
	r := Released{Position: b.at}
	var err error
	r.Held, err = b.hold.Release()
	err = errors.Join(err, g.journal.Sync(ctx, b.at.LSN))
	r.Hooks = g.leave()
	g.countMark(&Bookmarked{Position: b.at, Time: b.when, App: b.mark.App, Hooks: r.Hooks}, err)
	return r, err
}

// BarrierAbort lets everything go on; the bookmark stays void. It is allowed at
// any time, also for a set that the group does not take part in.
func (g *Group) BarrierAbort(set redoubt.SetID) freeze.Report {
	g.barrier.Lock()
	defer g.barrier.Unlock()
	if g.part == nil || g.part.mark.Set != set {
		return freeze.Report{}
	}
	return g.leave()
}

// leave ends the group's part. The caller holds g.barrier.
func (g *Group) leave() (r freeze.Report) {
	b := g.part
	g.part = nil
	if b.hold != nil {
		_, _ = b.hold.Release() // the caller has asked for its verdict, or gives up
	}
	if b.frozen != nil {
		r = b.frozen.Thaw()
	}
	return r
}
