package target

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// sameDisks reports whether the disks that a source names are those that the
// catalog knows. They may be larger: its stream says from which write on.
func sameDisks(named, known []redoubt.Disk) bool {
	return slices.EqualFunc(named, known, func(n, k redoubt.Disk) bool { return n.ID == k.ID && n.Name == k.Name && n.Size >= k.Size })
}

// noteDisks tells the catalog which disks have another size from a write of the
// delta on, before the delta is committed: so no point exists whose disks are not known.
func (s *Store) noteDisks(ctx context.Context, it *item) error {
	var events []catalog.DiskEvent
	for i := range it.d.Entries {
		if e := &it.d.Entries[i]; e.Kind == redoubt.KindResize {
			events = append(events, catalog.DiskEvent{Epoch: it.d.Epoch, LSN: e.LSN, Disk: redoubt.Disk{ID: e.Disk, Size: e.Extent.Off}})
		}
	}
	for len(events) > 0 {
		n := min(len(events), catalog.MaxBatch)
		if _, err := s.node.Propose(ctx, catalog.NoteDisks{Group: it.st.group, OwnerTerm: it.st.term, Events: events[:n]}); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}
