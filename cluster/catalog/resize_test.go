package catalog

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A disk has at each point the size that it had there: on branches too, and
// whatever order the events came in.
func TestDisksAtAPoint(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	note := func(e redoubt.Epoch, l redoubt.LSN, id redoubt.DiskID, size uint64) NoteDisks {
		return NoteDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{e, l, redoubt.Disk{ID: id, Size: size}}}}
	}
	size := func(e redoubt.Epoch, l redoubt.LSN, want uint64) {
		t.Helper()
		if d := m.s.disksAt(m.s.groups["g"], redoubt.Position{Epoch: e, LSN: l}); len(d) != 2 || d[0].Name != "root" || d[0].Size != want<<30 || d[1].Size != 1<<20 {
			t.Errorf("at %d:%d %v, want %d GiB", e, l, d, want)
		}
	}
	m.must(note(1, 14, 1, 4<<30)) // the second growth is told first
	m.must(note(1, 12, 1, 2<<30))
	m.must(note(1, 12, 1, 2<<30))
	m.refused(note(1, 13, 1, 1<<30), redoubt.ErrInvalid)
	m.refused(note(1, 13, 9, 1<<40), redoubt.ErrInvalid)
	m.refused(note(2, 13, 1, 8<<30), redoubt.ErrInvalid)
	stale := note(1, 20, 1, 8<<30)
	stale.OwnerTerm = 0
	m.refused(stale, redoubt.ErrFenced)
	m.commit("g", 10) // 1:11..20
	m.s = reload(t, m.s)
	size(1, 10, 1)
	size(1, 12, 2)
	size(1, 13, 2)
	size(1, 20, 4)
	if g := m.group("g"); g.Disks[0].Size != 4<<30 {
		t.Errorf("now %v", g.Disks)
	}
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 13}, NewEpoch: 2, Writer: "target/n1"})
	size(2, 13, 2)
	size(1, 20, 4)
	if g := m.group("g"); g.Disks[0].Size != 2<<30 {
		t.Errorf("failed over to before the second growth: %v", g.Disks)
	}
	m.must(CancelFailover{Group: "g", NewEpoch: 3})
	if g := m.group("g"); g.Disks[0].Size != 4<<30 {
		t.Errorf("cancelled: %v", g.Disks)
	}
}
