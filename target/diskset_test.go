package target

import (
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
)

// Each point has the disks that it had, with their content: before one was added,
// while it was copied, with it, after another has left, and with a third that has
// the name of that.
func TestDisksJoinAndLeave(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.write(20)
	src.shipped()
	type point struct {
		lsn   redoubt.LSN
		disks map[string][]byte
	}
	var points []point
	names := map[redoubt.DiskID]string{1: "root", 2: "data"}
	members := []redoubt.DiskID{1, 2}
	shot := func() {
		t.Helper()
		p := point{src.snap(), map[string][]byte{}}
		for _, id := range members {
			p.disks[names[id]] = src.snaps[p.lsn][id-1]
		}
		points = append(points, p)
		src.write(20)
	}
	// again begins a stream with another hello, as a restart does.
	again := func(change func(h *ship.Hello)) {
		t.Helper()
		_ = stop()
		change(&src.more)
		stop = src.run()
	}
	var gone []redoubt.Disk
	begin := func(id redoubt.DiskID, name string) {
		t.Helper()
		d := redoubt.Disk{ID: id, Name: name, Size: 1 << 19}
		names[id] = name
		b := make([]byte, d.Size)
		for i := range b[:d.Size/2] {
			b[i] = byte(rng.Uint32())
		}
		src.now = append(src.now, b)
		src.disks = append(slices.Clone(src.disks), d)
		again(func(h *ship.Hello) { h.Joining, h.Gone = []redoubt.DiskID{id}, gone })
		const step = 128 << 10
		for off := uint64(0); off < d.Size; off += step {
			src.add(redoubt.Write{Disk: id, Kind: redoubt.KindCopy, Extent: redoubt.Extent{Off: off, Len: step}})
			src.write(5)
			shot() // without it
		}
		src.shipped() // what the copies read is not older than what joins
	}
	shape := func(id redoubt.DiskID, k redoubt.Kind) {
		src.add(redoubt.Write{Disk: id, Kind: k, Extent: redoubt.Extent{Off: src.disks[id-1].Size}})
	}
	shot()
	begin(3, "logs")
	shape(3, redoubt.KindJoin)
	members = append(members, 3)
	shot()
	src.write(50)
	shot()
	shape(2, redoubt.KindLeave)
	members, gone = []redoubt.DiskID{1, 3}, src.disks[1:2:2]
	src.onlyTo = []int{0, 2}
	shot()
	shape(2, redoubt.KindLeave) // told again
	shot()
	src.onlyTo = []int{0, 2}
	begin(4, "data")
	src.onlyTo = []int{0, 2, 3}
	shape(4, redoubt.KindJoin)
	members = []redoubt.DiskID{1, 3, 4}
	shot()
	shot()
	src.shipped()
	noErr(t, stopped(stop()))
	if g, _ := s.nodes[0].node.Catalog().Group(src.group); len(g.Disks) != 3 {
		t.Errorf("the group has %v", g.Disks)
	}
	for _, p := range points {
		v, err := s.nodes[rng.IntN(3)].store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: p.lsn})
		noErr(t, err)
		if len(v.Disks()) != len(p.disks) {
			t.Errorf("at %d disks %v, want %d", p.lsn, v.Disks(), len(p.disks))
		}
		for _, d := range v.Disks() {
			got := make([]byte, d.Size)
			noErr(t, v.ReadAt(d.ID, got, 0))
			if want, ok := p.disks[d.Name]; !ok || redoubt.Checksum(got) != redoubt.Checksum(want) {
				t.Errorf("at %d disk %s differs (there: %t)", p.lsn, d.Name, ok)
			}
		}
		for id := redoubt.DiskID(1); id <= 4; id++ {
			if !slices.ContainsFunc(v.Disks(), func(d redoubt.Disk) bool { return d.ID == id }) {
				isErr(t, v.ReadAt(id, make([]byte, 512), 0), redoubt.ErrNotFound)
			}
		}
		noErr(t, v.Close())
	}
}
