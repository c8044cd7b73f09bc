package target

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// sameDisks reports whether the disks that a source names go with those that the
// catalog knows: its stream says from which write on disks are larger, have
// joined or have left. A disk that is just missing there is a mistake.
func sameDisks(h *ship.Hello, known []redoubt.Disk) bool {
	return !slices.ContainsFunc(known, func(k redoubt.Disk) bool {
		n, ok := h.Named(k.ID)
		return !ok || n.Name != k.Name || n.Size < k.Size
	})
}

// noteDisks tells the catalog which disks are another size, have joined or have
// left from a write of the delta on, before the delta is committed: so no point
// exists whose disks are not known.
func (s *Store) noteDisks(ctx context.Context, it *item) error {
	var events []catalog.DiskEvent
	change := false
	for i := range it.d.Entries {
		e := &it.d.Entries[i]
		d := redoubt.Disk{ID: e.Disk, Size: e.Extent.Off}
		switch e.Kind {
		case redoubt.KindResize:
		case redoubt.KindJoin:
			d.Name, change = it.st.names[e.Disk], true
		case redoubt.KindLeave:
			d.Size, change = 0, true
		default:
			continue
		}
		events = append(events, catalog.DiskEvent{Epoch: it.d.Epoch, LSN: e.LSN, Disk: d})
	}
	for len(events) > 0 {
		n := min(len(events), catalog.MaxBatch)
		var c catalog.Command = catalog.NoteDisks{Group: it.st.group, OwnerTerm: it.st.term, Events: events[:n]}
		if change {
			c = catalog.ChangeDisks{Group: it.st.group, OwnerTerm: it.st.term, Events: events[:n]}
		}
		if _, err := s.node.Propose(ctx, c); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

// diskNames are the names that a hello gives to disks.
func diskNames(h *ship.Hello) map[redoubt.DiskID]string {
	names := map[redoubt.DiskID]string{}
	for _, list := range [][]redoubt.Disk{h.Gone, h.Disks} {
		for _, d := range list {
			names[d.ID] = d.Name
		}
	}
	return names
}
