package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// ChangeDisks is NoteDisks for events by which disks join the group, with their
// names, or leave it. It is a command of its own because nodes that do not know it
// must stop, and not judge it in another way. Result: the Group.
//
// ErrInvalid beside what NoteDisks refuses: two disks would have one name, the
// last disk would leave, or there would be more than MaxDisks.
type ChangeDisks struct {
	Group     redoubt.GroupID
	OwnerTerm uint64
	Events    []DiskEvent // all of the current epoch, by rising LSN
}

func (c ChangeDisks) kind() kind { return kindChangeDisks }

func (c ChangeDisks) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(c.OwnerTerm)
	e.diskEvents(c.Events)
}

func decodeChangeDisks(d *decoder) Command {
	return ChangeDisks{Group: d.groupID(), OwnerTerm: d.uvar(), Events: d.diskEvents()}
}

func (c ChangeDisks) check() error {
	for _, v := range c.Events {
		if v.Disk.Name == "" {
			continue // leaves, or has another size
		}
		if err := redoubt.ValidName("disk", v.Disk.Name); err != nil {
			return err
		}
	}
	return checkEvents(c.Group, c.Events)
}

func (c ChangeDisks) apply(s *state) (any, error) {
	return s.note(c.Group, c.OwnerTerm, c.Events)
}

// after completes an event that follows on disks, and tells whether it can.
func (v DiskEvent) after(disks []redoubt.Disk) (DiskEvent, error) {
	i := slices.IndexFunc(disks, func(d redoubt.Disk) bool { return d.ID == v.Disk.ID })
	switch {
	case i >= 0 && v.Disk.Size > 0 && v.Disk.Size < disks[i].Size:
		return v, fmt.Errorf("disk %s would shrink from %d to %d bytes", disks[i].Name, disks[i].Size, v.Disk.Size)
	case i >= 0:
		v.Disk.Name = disks[i].Name
		return v, nil
	case v.Disk.Size == 0: // left before: it is told again
		return v, nil
	case v.Disk.Name == "":
		return v, fmt.Errorf("no disk %d", v.Disk.ID)
	}
	if j := slices.IndexFunc(disks, func(d redoubt.Disk) bool { return d.Name == v.Disk.Name }); j >= 0 {
		return v, fmt.Errorf("disks %d and %d would both be %s", disks[j].ID, v.Disk.ID, v.Disk.Name)
	}
	return v, nil
}

// changedSet reports whether disks have joined or left.
func changedSet(list []DiskEvent) bool {
	known := map[redoubt.DiskID]bool{}
	for _, v := range list {
		if v.LSN == 0 {
			known[v.Disk.ID] = true
		} else if !known[v.Disk.ID] || v.Disk.Size == 0 {
			return true
		}
	}
	return false
}

// NextDisk returns a number that no disk of the group ever had, nor a smaller
// one than any: what history is still kept knows it by none of these.
func (c *Catalog) NextDisk(id redoubt.GroupID) redoubt.DiskID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	next := redoubt.DiskID(1)
	if g, ok := c.s.groups[id]; ok {
		for _, d := range g.Disks {
			next = max(next, d.ID+1)
		}
	}
	for _, v := range c.s.resized[id] {
		next = max(next, v.Disk.ID+1)
	}
	return next
}

// DiskEvents returns how the group's disks have changed, in the order of its
// epochs and writes. Do not change it.
func (c *Catalog) DiskEvents(id redoubt.GroupID) []DiskEvent {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.resized[id]
}

// DisksEver returns the disks that the group has or ever had, by their numbers,
// with the size that each was told with last. Lists about the past name disks by it.
func (c *Catalog) DisksEver(id redoubt.GroupID) []redoubt.Disk {
	c.mu.RLock()
	defer c.mu.RUnlock()
	by := map[redoubt.DiskID]redoubt.Disk{}
	for _, v := range c.s.resized[id] {
		if v.Disk.Size > 0 {
			by[v.Disk.ID] = v.Disk
		}
	}
	if g, ok := c.s.groups[id]; ok {
		for _, d := range g.Disks {
			by[d.ID] = d
		}
	}
	return slices.SortedFunc(maps.Values(by), func(a, b redoubt.Disk) int { return cmp.Compare(a.ID, b.ID) })
}
