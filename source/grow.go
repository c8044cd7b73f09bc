package source

import (
	"context"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// sizesKey holds the sizes that the journal's records have told. A disk that is
// larger in the identity was growing when the host went down.
const sizesKey = "sizes"

// Grow makes a disk larger, to size bytes or, if size is 0, to what its image
// or device has by now. What is new reads as zeros, on both sites; points of
// before keep the old size. Clients see the new size when they connect again.
// The order of steps: the identity, so that the image is opened with the new
// size; the journal, in the one order of writes; what the journal has told; and
// only then may clients use it.
func (g *Group) Grow(ctx context.Context, name string, size uint64) (before, after redoubt.Disk, err error) {
	g.step.Lock()
	defer g.step.Unlock()
	fail := func(err error, hint string) (redoubt.Disk, redoubt.Disk, error) {
		return before, after, &redoubt.Error{Op: "grow disk", Object: name, Err: err, Hint: hint}
	}
	disks := slices.Clone(g.Disks())
	i := slices.IndexFunc(disks, func(d redoubt.Disk) bool { return d.Name == name })
	if i < 0 {
		return fail(redoubt.ErrNotFound, "`redoubt disk list` names the disks")
	}
	before, after = disks[i], disks[i]
	if r := g.Role(); r.Mode != ModeWriter {
		return fail(fmt.Errorf("this host is not the group's writer at present: %w", redoubt.ErrState), "grow it when the group is back here")
	}
	if g.isJoining(before.ID) {
		return fail(fmt.Errorf("it is being added: %w", redoubt.ErrState), "wait until it is a part of the group's points; `redoubt status` shows it")
	}
	room, err := g.disks.Room(before.ID)
	if err != nil {
		return before, after, err
	}
	if size == 0 {
		size = room - room%redoubt.SectorSize
	}
	switch {
	case size == before.Size:
		return before, before, nil
	case size < before.Size:
		return fail(fmt.Errorf("it has %d bytes and would have %d: %w", before.Size, size, redoubt.ErrInvalid), "a protected disk does not shrink; protect a smaller one beside it")
	case size > room:
		return fail(fmt.Errorf("its image has %d bytes only: %w", room, redoubt.ErrInvalid), "enlarge the image or device first, for example with truncate or lvextend")
	case size > redoubt.MaxDiskSize || size%redoubt.SectorSize != 0:
		return fail(fmt.Errorf("%d bytes: %w", size, redoubt.ErrInvalid), fmt.Sprintf("a size is a multiple of %d, up to %d", redoubt.SectorSize, uint64(redoubt.MaxDiskSize)))
	}
	if err := g.noteSize(before); err != nil {
		return before, after, err
	}
	after.Size = size
	disks[i] = after
	if err := g.changeIdentity(func(id *identity) { id.Disks = disks }); err != nil {
		return before, after, err
	}
	if err := g.enlarge(ctx, before.Size, after); err != nil {
		return before, after, err
	}
	g.log.Info("disk grown", "disk", name, "from", before.Size, "to", after.Size)
	return before, after, nil
}

// enlarge journals that d has grown from so many bytes, and lets clients use it.
func (g *Group) enlarge(ctx context.Context, from uint64, d redoubt.Disk) error {
	return g.disks.Grow(ctx, d.ID, from, d.Size, func() error {
		told, err := g.toldSizes()
		if err != nil {
			return err
		}
		told[d.ID] = d.Size
		g.note(d)
		return g.putState(sizesKey, told)
	})
}

// noteSize remembers the size of a disk that has not grown yet.
func (g *Group) noteSize(d redoubt.Disk) error {
	told, err := g.toldSizes()
	if err != nil || told[d.ID] != 0 {
		return err
	}
	told[d.ID] = d.Size
	return g.putState(sizesKey, told)
}

func (g *Group) toldSizes() (map[redoubt.DiskID]uint64, error) {
	told, ok, err := loadState[map[redoubt.DiskID]uint64](g, sizesKey)
	if !ok {
		told = map[redoubt.DiskID]uint64{}
	}
	return told, err
}

// endGrowth ends the growth of disks that a crash has interrupted. No client is
// served yet.
func (g *Group) endGrowth() error {
	told, err := g.toldSizes()
	if err != nil {
		return err
	}
	if g.role.Mode != ModeWriter {
		return nil // the disks follow another writer
	}
	first := len(told) == 0
	for _, d := range g.Disks() {
		from, known := told[d.ID]
		switch {
		case first && !known:
			told[d.ID] = d.Size
		case known && from < d.Size:
			if err := g.enlarge(context.Background(), from, d); err != nil {
				return err
			}
		}
	}
	if first {
		return g.putState(sizesKey, told)
	}
	return nil
}

// declaration is a size that was told in an epoch.
type declaration struct {
	epoch redoubt.Epoch
	size  uint64
}

// note remembers that a disk's size is in the stream.
func (g *Group) note(d redoubt.Disk) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.declared == nil {
		g.declared = map[redoubt.DiskID]declaration{}
	}
	g.declared[d.ID] = declaration{g.role.Epoch, d.Size}
}

// declare tells the sizes of disks that the secondary takes for smaller: the
// record that said it was in a journal that is gone, or belongs to a history
// that was left.
func (g *Group) declare(w ship.Welcome) {
	for _, d := range g.Disks() {
		i := slices.IndexFunc(w.Disks, func(k redoubt.Disk) bool { return k.ID == d.ID })
		g.mu.Lock()
		told := g.declared[d.ID] == declaration{w.Epoch, d.Size}
		g.mu.Unlock()
		if i < 0 || w.Disks[i].Size >= d.Size || told {
			continue
		}
		ws := []redoubt.Write{{Disk: d.ID, Kind: redoubt.KindResize, Extent: redoubt.Extent{Off: d.Size}}}
		if err := g.disks.AppendControl(ws); err != nil {
			g.log.Warn("the size of a disk is told later", "disk", d.Name, "err", err)
			return
		}
		g.note(d)
	}
}
