package catalog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// DiskEvent says what a disk is from a write of the group's order on. The
// first events of a group, at LSN 0, say what its disks were before.
type DiskEvent struct {
	Epoch redoubt.Epoch `json:"epoch"`
	LSN   redoubt.LSN   `json:"lsn"`
	Disk  redoubt.Disk  `json:"disk"`
}

// MaxDiskEvents is the largest number of events of one group.
const MaxDiskEvents = 1 << 16

func (e *encoder) diskEvents(list []DiskEvent) {
	e.uvar(uint64(len(list)))
	for _, v := range list {
		e.uvar(uint64(v.Epoch))
		e.lsn(v.LSN)
		e.disks([]redoubt.Disk{v.Disk})
	}
}

func (d *decoder) diskEvents() (out []DiskEvent) {
	for range d.count(MaxDiskEvents, "number of disk events") {
		v := DiskEvent{Epoch: d.epoch(), LSN: d.lsn()}
		if disks := d.disks(); len(disks) == 1 {
			v.Disk = disks[0]
		} else {
			d.bad("not one disk")
		}
		out = append(out, v)
	}
	return out
}

// DisksAt returns the group's disks as they were at a position.
func (c *Catalog) DisksAt(id redoubt.GroupID, p redoubt.Position) []redoubt.Disk {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, ok := c.s.groups[id]
	if !ok {
		return nil
	}
	return c.s.disksAt(g, p)
}

func (s *state) disksAt(g *Group, p redoubt.Position) []redoubt.Disk {
	return disksAt(g, s.resized[g.ID], p)
}

// compareEvents orders events as a history has them.
func compareEvents(a, b DiskEvent) int {
	return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.LSN, b.LSN), cmp.Compare(a.Disk.ID, b.Disk.ID))
}

// disksAt is what the events, in their order, make of the group's disks at p.
func disksAt(g *Group, list []DiskEvent, p redoubt.Position) []redoubt.Disk {
	if len(list) == 0 {
		return g.Disks
	}
	path := g.Lineage.Path(p)
	slices.Reverse(path)
	var out []redoubt.Disk
	put := func(d redoubt.Disk) {
		if i := slices.IndexFunc(out, func(k redoubt.Disk) bool { return k.ID == d.ID }); i >= 0 {
			out[i] = d
		} else {
			out = append(out, d)
		}
	}
	for _, v := range list {
		if v.LSN == 0 {
			put(v.Disk)
		}
	}
	for _, st := range path {
		for _, v := range list {
			if v.Epoch == st.Epoch && v.LSN > st.From && v.LSN <= st.To {
				put(v.Disk)
			}
		}
	}
	return out
}

// NoteDisks tells that disks of the group have another size from some writes
// on. It comes before the segment that holds those writes: an event beyond what
// is ever committed is on no path, and says nothing. Result: the Group.
//
// ErrFenced: the epoch or the owner term is over. ErrInvalid: a disk is unknown,
// or would become smaller.
type NoteDisks struct {
	Group     redoubt.GroupID
	OwnerTerm uint64
	Events    []DiskEvent // all of the current epoch, by rising LSN
}

func (c NoteDisks) kind() kind { return kindNoteDisks }

func (c NoteDisks) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(c.OwnerTerm)
	e.diskEvents(c.Events)
}

func decodeNoteDisks(d *decoder) Command {
	return NoteDisks{Group: d.groupID(), OwnerTerm: d.uvar(), Events: d.diskEvents()}
}

func (c NoteDisks) check() error {
	if len(c.Events) == 0 || len(c.Events) > MaxBatch {
		return invalid("note disks of group", string(c.Group), fmt.Sprintf("%d events", len(c.Events)))
	}
	for i, v := range c.Events {
		if v.LSN == 0 || v.Epoch != c.Events[0].Epoch || i > 0 && v.LSN < c.Events[i-1].LSN ||
			v.Disk.Size == 0 || v.Disk.Size > redoubt.MaxDiskSize || v.Disk.Size%redoubt.SectorSize != 0 {
			return invalid("note disks of group", string(c.Group), "bad event")
		}
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c NoteDisks) apply(s *state) (any, error) {
	const op = "note disks of group"
	g, err := s.groupAt(op, c.Group, c.Events[0].Epoch)
	if err != nil {
		return nil, err
	}
	if c.OwnerTerm != g.OwnerTerm {
		return nil, fail(op, string(g.ID), fmt.Errorf("owner term %d, the present one is %d: %w", c.OwnerTerm, g.OwnerTerm, redoubt.ErrFenced), "")
	}
	list := slices.Clone(s.resized[g.ID])
	if len(list) == 0 {
		for _, d := range g.Disks {
			list = append(list, DiskEvent{Disk: d})
		}
	}
	n := *g
	for _, v := range c.Events {
		i := slices.IndexFunc(n.Disks, func(d redoubt.Disk) bool { return d.ID == v.Disk.ID })
		if i < 0 {
			return nil, invalid(op, string(g.ID), fmt.Sprintf("no disk %d", v.Disk.ID))
		}
		v.Disk.Name = n.Disks[i].Name
		at, told := slices.BinarySearchFunc(list, v, compareEvents)
		if told {
			continue
		}
		// Events may come out of order: what counts is the disk as it was before.
		if before := disksAt(g, list, redoubt.Position{Epoch: v.Epoch, LSN: v.LSN}); v.Disk.Size < before[i].Size {
			return nil, invalid(op, string(g.ID), fmt.Sprintf("disk %s would shrink from %d to %d bytes", v.Disk.Name, before[i].Size, v.Disk.Size))
		}
		list = slices.Insert(list, at, v)
	}
	if len(list) > MaxDiskEvents {
		return nil, invalid(op, string(g.ID), "too many events")
	}
	n.Disks = disksAt(g, list, redoubt.Position{Epoch: g.Epoch, LSN: NoPoint})
	s.resized[g.ID] = list
	return s.put(&n), nil
}
