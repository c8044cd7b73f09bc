package service

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/source"
)

// A receipt names disks that joined after the point, have left, or never joined
// at all; that a disk left is no write that was lost.
func TestLostWritesOfDisksThatCameAndWent(t *testing.T) {
	write := func(l redoubt.LSN, d redoubt.DiskID, k redoubt.Kind, off, n uint64) *ship.Entry {
		e := &ship.Entry{}
		e.LSN, e.Disk, e.Kind, e.Extent = l, d, k, redoubt.Extent{Off: off, Len: n}
		return e
	}
	out := &adminv1.LossReceipt{}
	l := lossList{out: out, limit: 10, disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}, {ID: 2, Name: "old", Size: 1 << 20}, {ID: 3, Name: "new", Size: 1 << 20}},
		leaves: map[redoubt.LSN]redoubt.DiskID{13: 2}}
	for _, e := range []*ship.Entry{
		write(11, 3, redoubt.KindWrite, 0, 512),
		write(12, 2, redoubt.KindTrim, 0, 4096),
		write(13, 2, redoubt.KindLeave, 1<<20, 0),
		write(13, 2, redoubt.KindTrim, 0, 1<<20), // made by the sender
		write(14, 1, redoubt.KindTrim, 512, 512),
	} {
		l.add(e)
	}
	there := &adminv1.LossReceipt{Records: 1, Bytes: 1024, Writes: []*adminv1.LostWrite{{Lsn: 15, Disk: 4}},
		Disks: []*adminv1.DiskExtents{{Disk: 4, Name: "copying", Extents: []*adminv1.Extent{{Off: 0, Len: 1024}}}}}
	l.finish(there)
	if out.Records != 4 || out.Bytes != 512+4096+512+1024 || len(out.Writes) != 4 || out.Truncated {
		t.Errorf("%d writes of %d bytes, listed: %v", out.Records, out.Bytes, out.Writes)
	}
	want := map[string]uint64{"root": 512, "old": 4096, "new": 512, "copying": 1024}
	for _, d := range out.Disks {
		if want[d.Name] != d.Bytes {
			t.Errorf("disk %d %q: %d bytes", d.Disk, d.Name, d.Bytes)
		}
		delete(want, d.Name)
	}
	if len(want) > 0 {
		t.Errorf("not named: %v", want)
	}
}

// Whoever may look may not have a list made that no answer could hold.
func TestListedWritesAreBounded(t *testing.T) {
	for want, got := range map[uint32]int{0: defaultLostWrites, 1: 1, 5000: 5000, source.MaxLostWrites + 1: source.MaxLostWrites, 1<<32 - 1: source.MaxLostWrites} {
		if n := listedWrites(want); n != got {
			t.Errorf("%d: %d, want %d", want, n, got)
		}
	}
}
