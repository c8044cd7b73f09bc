package blockdev

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Remove takes a disk out of the group while the others are used: when it returns,
// everything that was written to the disk is durable in its backing, and that is
// closed. Whoever exports the volume has let go of it before. On an error the disk
// is as it was. The journal's records of it stay; whoever opens the group without
// it says so, see GroupOptions.Gone.
func (g *Group) Remove(ctx context.Context, id redoubt.DiskID) error {
	d, err := g.disk("remove disk", id, redoubt.Extent{})
	if err != nil {
		return err
	}
	g.mu.Lock()
	d.gone.Store(true) // inside the order: no write to it comes later
	g.mu.Unlock()
	if err := g.Drain(ctx); err != nil {
		d.gone.Store(false)
		return err
	}
	return d.backing.Close()
}

// removed reports whether the writes, which are all of one disk, come too late.
func (g *Group) removed(ws []redoubt.Write) bool {
	d := g.byID[ws[0].Disk]
	return d != nil && d.gone.Load()
}

// present are the disks that were not removed.
func (g *Group) present() []*Volume {
	return slices.DeleteFunc(slices.Clone(g.volumes), func(v *Volume) bool { return v.disk.gone.Load() })
}
