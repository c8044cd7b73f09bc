package source

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
)

// changeIdentity makes a change of the identity durable, then known. fn must not
// change lists in place.
func (g *Group) changeIdentity(fn func(id *identity)) error {
	g.edit.Lock()
	defer g.edit.Unlock()
	g.mu.Lock()
	id := g.id
	g.mu.Unlock()
	fn(&id)
	if err := writeIdentity(filepath.Join(g.host.groupDir(g.cfg.Name), identityFile), id); err != nil {
		return err
	}
	g.mu.Lock()
	g.id = id
	g.mu.Unlock()
	return nil
}

func (g *Group) identity() identity {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.id
}

// members are the disks that belong to points; those that are being added do not.
func (g *Group) members() (out []redoubt.Disk) {
	id := g.identity()
	for _, d := range id.Disks {
		if !slices.Contains(id.Joining, d.ID) {
			out = append(out, d)
		}
	}
	return out
}

func (g *Group) joining() []redoubt.DiskID { return g.identity().Joining }

func (g *Group) isJoining(id redoubt.DiskID) bool { return slices.Contains(g.joining(), id) }

// addedDisk names a disk that is being added; empty if there is none.
func (g *Group) addedDisk() string {
	id := g.identity()
	for _, d := range id.Disks {
		if slices.Contains(id.Joining, d.ID) {
			return d.Name
		}
	}
	return ""
}

// gone are the disks that were removed.
func (g *Group) gone() []redoubt.Disk { return g.identity().Gone }

func (g *Group) goneIDs() (out []redoubt.DiskID) {
	for _, d := range g.gone() {
		out = append(out, d.ID)
	}
	return out
}

// foreign are the disks that are here for the way back alone.
func (g *Group) foreign() (out []redoubt.Disk) {
	id := g.identity()
	for _, d := range id.Disks {
		if slices.Contains(id.Foreign, d.ID) {
			out = append(out, d)
		}
	}
	return out
}

// RemoveDisk takes a disk out of the group: its clients are sent away, what they
// wrote is made durable in its image, which is left alone from then on, and the
// order of writes says that it has left. Points of before keep it. A crash before
// group.json says so leaves the disk as it was; after that the rest is done by
// itself. A host that does not write the group lets go of disks that its history
// does not have.
func (g *Group) RemoveDisk(ctx context.Context, name string) (redoubt.Disk, error) {
	g.step.Lock()
	defer g.step.Unlock()
	id := g.identity()
	d, ok := id.disk(name)
	fail := func(err error, hint string) (redoubt.Disk, error) {
		return d, &redoubt.Error{Op: "remove disk", Object: name, Err: err, Hint: hint}
	}
	if !ok {
		return fail(redoubt.ErrNotFound, "`redoubt disk list` names the disks")
	}
	joining, follows := slices.Contains(id.Joining, d.ID), g.Role().Mode != ModeWriter
	g.mu.Lock()
	w := g.welcome
	g.mu.Unlock()
	job := w != nil && w.Job != nil
	unknown := w != nil && len(w.Disks) > 0 && !slices.ContainsFunc(w.Disks, func(k redoubt.Disk) bool { return k.ID == d.ID })
	_, stopped := g.held()
	_, gap := g.journal.Gap()
	_, _, copied := g.copy.Progress()
	switch {
	case follows && unknown && len(id.Disks) > 1:
	case follows:
		return fail(fmt.Errorf("this host is not the group's writer at present: %w", redoubt.ErrState), "remove it when the group is back here")
	case stopped || job:
		return fail(fmt.Errorf("a failover is under way: %w", redoubt.ErrState), "wait for it, or cancel it")
	case g.secondary() == nil:
		return fail(fmt.Errorf("the group is not protected: %w", redoubt.ErrState), "protect it first, or its points would keep the disk for ever: redoubt group protect "+string(g.cfg.Name))
	case !joining && (gap || !copied):
		return fail(fmt.Errorf("the disks are being copied to the secondary: %w", redoubt.ErrState), "wait until the group is Protected")
	case !joining && len(g.members()) == 1:
		return fail(fmt.Errorf("it is the group's last disk: %w", redoubt.ErrState), "to end the protection: redoubt group unprotect "+string(g.cfg.Name))
	}
	v, _ := g.disks.Volume(name)
	if err := g.server.Remove(name); err != nil {
		return d, err
	}
	if err := g.disks.Remove(ctx, d.ID); err != nil {
		_ = g.server.Add(g.export(v))
		return d, err
	}
	crashpoint.Here("source.remove.closed")
	if err := g.changeIdentity(func(id *identity) { id.remove(d) }); err != nil {
		return fail(err, "the disk is not served any more; restart redoubtd, and remove it again")
	}
	crashpoint.Here("source.remove.durable")
	g.log.Warn("disk removed", "disk", name, "hint", "take it out of the configuration")
	if follows {
		return d, nil
	}
	return d, g.tellLeaving()
}

// leaveKey holds where the journal says of which disk that it has left.
const leaveKey = "leave"

// leaves is what was said in an epoch.
type leaves struct {
	Epoch redoubt.Epoch                  `json:"epoch"`
	Told  map[redoubt.DiskID]redoubt.LSN `json:"told"`
}

func (g *Group) toldLeaves() (leaves, error) {
	l, ok, err := loadState[leaves](g, leaveKey)
	if e := g.journal.Epoch(); !ok || l.Epoch != e || l.Told == nil {
		l = leaves{Epoch: e, Told: map[redoubt.DiskID]redoubt.LSN{}}
	}
	return l, err
}

// tellLeaving has the journal say which disks have left, if it has not in this epoch.
func (g *Group) tellLeaving() error {
	g.telling.Lock()
	defer g.telling.Unlock()
	id := g.identity()
	l, err := g.toldLeaves()
	if err != nil {
		return err
	}
	for _, d := range id.Gone {
		if !slices.Contains(id.Leaving, d.ID) || l.Told[d.ID] != 0 {
			continue
		}
		ws := []redoubt.Write{{Disk: d.ID, Kind: redoubt.KindLeave, Extent: redoubt.Extent{Off: d.Size}}}
		if err := g.disks.AppendControl(ws); err != nil {
			return err
		}
		if err := g.flush(ws[0].LSN); err != nil {
			return err
		}
		crashpoint.Here("source.remove.journaled")
		l.Told[d.ID] = ws[0].LSN
		if err := g.putState(leaveKey, l); err != nil {
			return err
		}
	}
	return nil
}

// learnDisks compares the disks with what the secondary of this epoch knows: one
// that is there has joined, one that is not has left. History may have been left
// at a point of before: then they are to join and leave once more.
func (g *Group) learnDisks(w ship.Welcome) {
	if len(w.Disks) == 0 || w.Epoch != g.Role().Epoch {
		return
	}
	there := func(id redoubt.DiskID) bool {
		return slices.ContainsFunc(w.Disks, func(k redoubt.Disk) bool { return k.ID == id })
	}
	now := g.identity()
	next := now
	next.Next, next.Joining, next.Leaving, next.Foreign, next.Wanted = max(now.Next, w.NextDisk), nil, nil, nil, nil
	for _, d := range now.Disks {
		next.Next = max(next.Next, d.ID+1)
		if !there(d.ID) {
			next.Joining = append(next.Joining, d.ID)
		}
	}
	for _, d := range now.Gone {
		if there(d.ID) {
			next.Leaving = append(next.Leaving, d.ID)
		}
	}
	if fmt.Sprint(next) == fmt.Sprint(now) {
		return
	}
	err := g.changeIdentity(func(id *identity) {
		// What was removed meanwhile is not in the answer.
		same := len(id.Disks) == len(now.Disks)
		if same {
			id.Next, id.Joining, id.Leaving, id.Foreign, id.Wanted = next.Next, next.Joining, next.Leaving, nil, nil
		}
	})
	if err != nil {
		g.log.Warn("what the secondary knows of the disks could not be stored", "err", err)
		return
	}
	for _, d := range now.Disks {
		if slices.Contains(now.Joining, d.ID) && there(d.ID) {
			g.log.Info("disk added: points have it from here on", "disk", d.Name)
		}
	}
}

// settleDisks has disks join and leave, one after the other, until ctx is done.
func (g *Group) settleDisks(ctx context.Context) {
	var complained time.Time
	for ctx.Err() == nil {
		id := g.identity()
		_, stopped := g.held()
		var err error
		switch {
		case stopped: // its last write stays the last, or it could not be promoted there
		case len(id.Leaving) > 0: // first: its name may be another disk's
			err = g.settleLeaves(ctx)
		case len(id.Joining) > 0:
			err = g.settleJoin(ctx, id.Joining[0])
		}
		if err != nil && ctx.Err() == nil && time.Since(complained) > complainEvery {
			complained = time.Now()
			g.log.Warn("a disk is added or removed later", "err", err, "hint", redoubt.Hint(err))
		}
		pause(ctx, settlePoll)
	}
}

// settlePoll is how often it is looked whether disks join or leave.
const settlePoll = 100 * time.Millisecond

// settleLeaves tells that disks have left until the secondary knows it: a journal
// that overflowed may have given up the record.
func (g *Group) settleLeaves(ctx context.Context) error {
	l, err := g.toldLeaves()
	if err != nil {
		return err
	}
	id := g.identity()
	upTo := g.journal.Head().LSN // a tail of before may say it already
	for _, d := range id.Leaving {
		if l.Told[d] == 0 {
			upTo = 0
		}
	}
	if upTo == 0 {
		if err := g.tellLeaving(); err != nil {
			return err
		}
		upTo = g.journal.Head().LSN
	}
	if err := g.confirm(ctx, upTo); err != nil || len(g.identity().Leaving) == 0 {
		return err
	}
	return g.putState(leaveKey, leaves{}) // again
}

// confirm waits until everything up to an LSN is safe, and asks the secondary
// which disks it knows then.
func (g *Group) confirm(ctx context.Context, upTo redoubt.LSN) error {
	for c := g.secondary(); c == nil || c.Acked() < upTo; c = g.secondary() {
		if pause(ctx, ackPoll); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	w, err := g.ask(ctx)
	if err == nil {
		g.learnDisks(w)
	}
	return err
}

// checkWayBack refuses a stream of disks that are not here, and remembers them: one
// that the configuration names at the next start is taken for it.
func (g *Group) checkWayBack(disks []redoubt.Disk) error {
	id := g.identity()
	var lacks []redoubt.Disk
	for _, d := range disks {
		if !slices.ContainsFunc(id.Disks, func(k redoubt.Disk) bool { return k.ID == d.ID }) {
			lacks = append(lacks, d)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	if !slices.Equal(lacks, id.Wanted) {
		if err := g.changeIdentity(func(id *identity) { id.Wanted = lacks }); err != nil {
			return err
		}
	}
	first := ""
	if _, taken := id.disk(lacks[0].Name); taken {
		first = "remove the disk of that name first, which this history does not have: redoubt disk remove " + string(g.cfg.Name) + " " + lacks[0].Name + "; then "
	}
	return &redoubt.Error{Op: "reverse replicate", Object: string(g.cfg.Name), Err: fmt.Errorf("the point that was failed over to has disk %s, which this host has not: %w", lacks[0].Name, redoubt.ErrState),
		Hint: first + fmt.Sprintf("name disk %s in the configuration of %s, with an image of %d bytes, whose content will be overwritten, and restart redoubtd there", lacks[0].Name, g.host.Name, lacks[0].Size)}
}
