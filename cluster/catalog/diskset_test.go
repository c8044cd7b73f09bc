package catalog

import (
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A disk belongs to the points from where it has joined up to where it leaves,
// on branches too; one of the same name that comes later is another disk.
func TestDisksJoinAndLeave(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g") // root and another, 1 and 2
	names := m.group("g").Disks
	change := func(e redoubt.Epoch, l redoubt.LSN, d redoubt.Disk) ChangeDisks {
		return ChangeDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{e, l, d}}}
	}
	at := func(e redoubt.Epoch, l redoubt.LSN, want ...redoubt.DiskID) {
		t.Helper()
		var got []redoubt.DiskID
		for _, d := range m.s.disksAt(m.s.groups["g"], redoubt.Position{Epoch: e, LSN: l}) {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %d:%d disks %v, want %v", e, l, got, want)
		}
	}
	join := change(1, 13, redoubt.Disk{ID: 3, Name: "more", Size: 1 << 20})
	m.must(join)
	m.must(join) // told again
	m.refused(change(1, 14, redoubt.Disk{ID: 4, Name: "more", Size: 1 << 20}), redoubt.ErrInvalid)
	m.refused(change(1, 14, redoubt.Disk{ID: 4, Name: "a/b", Size: 1 << 20}), redoubt.ErrInvalid)
	m.refused(change(1, 14, redoubt.Disk{ID: 0, Name: "data2", Size: 1 << 20}), redoubt.ErrInvalid)
	m.refused(change(2, 14, redoubt.Disk{ID: 4, Name: "data2", Size: 1 << 20}), redoubt.ErrInvalid)
	m.refused(NoteDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{1, 14, redoubt.Disk{ID: 3}}}}, redoubt.ErrInvalid)
	m.must(NoteDisks{Group: "g", OwnerTerm: 1, Events: []DiskEvent{{1, 14, redoubt.Disk{ID: 3, Size: 2 << 20}}}})
	m.must(change(1, 15, redoubt.Disk{ID: 2})) // leaves
	m.must(change(1, 16, redoubt.Disk{ID: 3}))
	m.must(change(1, 17, redoubt.Disk{ID: 3})) // told twice
	m.refused(change(1, 18, redoubt.Disk{ID: 1}), redoubt.ErrInvalid)
	m.must(change(1, 18, redoubt.Disk{ID: 4, Name: "more", Size: 3 << 20}))
	m.commit("g", 10) // 1:11..20
	m.s = reload(t, m.s)
	at(1, 12, 1, 2)
	at(1, 13, 1, 2, 3)
	at(1, 15, 1, 3)
	at(1, 16, 1)
	at(1, 17, 1)
	at(1, 20, 1, 4)
	if d := m.s.disksAt(m.s.groups["g"], redoubt.Position{Epoch: 1, LSN: 14}); d[2].Name != "more" || d[2].Size != 2<<20 || d[1] != names[1] {
		t.Errorf("at 14: %v", d)
	}
	if ever := (&Catalog{s: m.s}).DisksEver("g"); len(ever) != 4 || ever[1] != names[1] || ever[2].Name != "more" || ever[2].Size != 2<<20 || ever[3].ID != 4 {
		t.Errorf("disks that ever were: %v", ever)
	}
	if next := (&Catalog{s: m.s}).NextDisk("g"); next != 5 {
		t.Errorf("next disk %d", next)
	}
	m.must(Promote{Group: "g", Kind: PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: 15}, NewEpoch: 2, Writer: "target/n1"})
	at(2, 15, 1, 3)
	if g := m.group("g"); len(g.Disks) != 2 {
		t.Errorf("failed over with %v", g.Disks)
	}
	m.must(CancelFailover{Group: "g", NewEpoch: 3})
	if g := m.group("g"); len(g.Disks) != 2 || g.Disks[1].ID != 4 {
		t.Errorf("cancelled: %v", g.Disks)
	}
}
