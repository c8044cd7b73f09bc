package target

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// comer is a disk beside the feed's own, which joins and leaves.
type comer struct {
	redoubt.Disk
	now        []byte
	join, left redoubt.LSN // points in [join, left) have it; left 0: all from join on
	states     []comerState
}

// comerState is what the disk holds from a write on.
type comerState struct {
	from redoubt.LSN
	sum  uint32
}

func newComer(id redoubt.DiskID, name string) *comer {
	d := redoubt.Disk{ID: id, Name: name, Size: feedBlock * feedBlocks}
	return &comer{Disk: d, now: make([]byte, d.Size)}
}

// at tells whether points at l have the disk, and its checksum there.
func (c *comer) at(l redoubt.LSN) (sum uint32, ok bool) {
	for _, s := range c.states {
		if s.from <= l {
			sum = s.sum
		}
	}
	return sum, c.join != 0 && l >= c.join && (c.left == 0 || l < c.left)
}

// fill writes n extents of the disk, at random or one behind the other, and
// sometimes zeros, in one delta.
func (f *feed) fill(c *comer, kind redoubt.Kind, n int, inOrder bool) {
	f.t.Helper()
	b := ship.NewBuilder(f.group, f.epoch, ship.NewCompressor(ship.CodecS2))
	for i := range n {
		f.c.add(200 * time.Millisecond)
		at := i * feedBlocks / n
		if !inOrder {
			at = f.rng.IntN(feedBlocks - 4)
		}
		l := redoubt.LSN(len(f.all) + 1)
		w := redoubt.Write{LSN: l, Time: f.c.now().UnixNano(), Disk: c.ID, Kind: kind, Extent: redoubt.Extent{Off: uint64(at) * feedBlock, Len: 4 * feedBlock}}
		for k := range 4 {
			w.Data = append(w.Data, f.data(l, k)...)
		}
		w.CRC = redoubt.Checksum(w.Data)
		copy(c.now[w.Extent.Off:], w.Data)
		f.all = append(f.all, written{time: w.Time})
		if kind == redoubt.KindCopy { // as the sender ships it
			noErr(f.t, b.Advance(l, w.Time))
			noErr(f.t, b.Put(kind, w.Disk, w.Extent, w.Data, w.CRC))
		} else {
			noErr(f.t, b.Add(&w))
		}
		c.states = append(c.states, comerState{l, redoubt.Checksum(c.now)})
	}
	f.commit(b)
}

// shape has the disk join or leave.
func (f *feed) shape(c *comer, kind redoubt.Kind) redoubt.LSN {
	f.t.Helper()
	b := ship.NewBuilder(f.group, f.epoch, ship.NewCompressor(ship.CodecS2))
	l := redoubt.LSN(len(f.all) + 1)
	f.all = append(f.all, written{time: f.c.now().UnixNano()})
	noErr(f.t, b.Add(&redoubt.Write{LSN: l, Time: f.c.now().UnixNano(), Disk: c.ID, Kind: kind, Extent: redoubt.Extent{Off: c.Size}}))
	if kind == redoubt.KindLeave { // as the sender ships it
		noErr(f.t, b.Put(redoubt.KindTrim, c.ID, redoubt.Extent{Len: c.Size}, nil, 0))
	}
	f.commit(b)
	return l
}

// checkComers reads every retained point: its disks are those that it had. It
// returns how many bytes the writes to the feed's own disk have that any shows.
func (f *feed) checkComers(cs ...*comer) (whole int64) {
	f.t.Helper()
	got := make([]byte, f.disk.Size)
	ls := f.retained()
	for i, l := range ls {
		v, err := f.s.nodes[i%len(f.s.nodes)].store.View(f.t.Context(), f.group, f.position(l))
		noErr(f.t, err)
		want := 1
		for _, c := range cs {
			sum, has := c.at(l)
			if !has {
				isErr(f.t, v.ReadAt(c.ID, got[:512], 0), redoubt.ErrNotFound)
				continue
			}
			want++
			noErr(f.t, v.ReadAt(c.ID, got, 0))
			if redoubt.Checksum(got) != sum {
				f.t.Errorf("point 1:%d: disk %d differs", l, c.ID)
			}
		}
		if len(v.Disks()) != want {
			f.t.Errorf("point 1:%d has disks %v, want %d", l, v.Disks(), want)
		}
		noErr(f.t, v.Close())
	}
	_, whole = f.check(ls, 1)
	return whole
}

// held counts the bytes of the disk's writes that are still stored.
func (f *feed) held(c *comer) (bytes uint64) {
	f.t.Helper()
	g, _ := f.owner.node.Catalog().Group(f.group)
	for _, sg := range f.owner.node.Catalog().Segments(f.group, 1, 0, 10_000) {
		_, d, err := f.owner.store.shards.SegmentHead(f.t.Context(), shards.SeriesOf(&g, 1), sg.Ordinal)
		noErr(f.t, err)
		for i := 0; d != nil && i < len(d.Entries); i++ {
			if e := &d.Entries[i]; e.Disk == c.ID && e.HasData() {
				bytes += uint64(e.DataLen)
			}
		}
	}
	return bytes
}

// What a removed disk held stays as long as a retained point shows it, and not
// longer. A disk that is added under its name keeps what was copied before it
// joined, though no point of that time has it.
func TestSpaceOfARemovedDisk(t *testing.T) {
	c := &clock{}
	c.set(day1())
	s := newSiteAt(t, 3, c.now)
	scratch := newComer(2, "scratch")
	scratch.join = 1
	f := newFeed(t, s, c, seeded.Rand(t), scratch.Disk)
	p, err := catalog.ParsePolicy("every=2m,1s=20m,1m=2h,bookmarks=3h")
	noErr(t, err)
	f.policy(p)
	f.fill(scratch, redoubt.KindCopy, feedBlocks/4, true)
	f.baseline()
	retain := func() {
		t.Helper()
		noErr(t, f.owner.store.Retention().Retain(t.Context(), f.group))
		f.synced()
	}
	for range 6 {
		c.add(10 * time.Minute)
		f.burst(8, 200*time.Millisecond)
		f.fill(scratch, redoubt.KindWrite, 6, false)
		retain()
	}
	audit := redoubt.LSN(len(f.all) - 3)
	_, err = f.owner.node.Propose(t.Context(), catalog.SetPin{Group: f.group, Pin: catalog.Pin{Name: "audit", Kind: catalog.PinHold, Position: f.position(audit), Until: c.now().Add(4 * time.Hour).UnixNano()}})
	noErr(t, err)
	scratch.left = f.shape(scratch, redoubt.KindLeave)
	again := newComer(3, "scratch")
	f.st.Close()
	f.more = ship.Hello{Disks: []redoubt.Disk{again.Disk}, Joining: []redoubt.DiskID{3}, Gone: []redoubt.Disk{scratch.Disk}}
	f.connect()
	f.fill(again, redoubt.KindCopy, feedBlocks/4, true)
	c.add(5 * time.Minute)
	f.fill(again, redoubt.KindWrite, 3, false)
	f.burst(8, 200*time.Millisecond)
	again.join = f.shape(again, redoubt.KindJoin)
	retain()
	f.checkComers(scratch, again)
	full, _ := f.logBytes()
	for range 18 {
		c.add(10 * time.Minute)
		f.burst(8, 200*time.Millisecond)
		f.fill(again, redoubt.KindWrite, 1, false)
		retain()
	}
	f.checkComers(scratch, again)
	ls := f.retained()
	if i := slices.Index(ls, audit); i < 0 || i+1 < len(ls) && ls[i+1] < again.join {
		t.Fatalf("points %v are left around the hold at %d: this test says nothing", ls, audit)
	}
	held := f.held(scratch)
	if held < scratch.Size {
		t.Errorf("%d bytes of the removed disk are stored, the hold shows %d", held, scratch.Size)
	}
	before, _ := f.logBytes()
	for range 2 {
		c.add(time.Hour) // the hold is over
		f.burst(8, 200*time.Millisecond)
		retain()
	}
	if slices.Contains(f.retained(), audit) {
		t.Fatal("the hold is over and its point stays")
	}
	whole := f.checkComers(scratch, again)
	left := f.held(scratch)
	after, _ := f.logBytes()
	if left > scratch.Size/20 {
		t.Errorf("no point shows the removed disk, and %d bytes of it are stored", left)
	}
	// As in TestDayOfHistory: at 2+1 a byte takes one and a half.
	bound := float64(whole+int64(f.held(again))) * 3 / 2
	t.Logf("of the removed disk %d KiB are stored with the hold, %d without; shard logs %d KiB, %d, %d: %.2f x bound", held>>10, left>>10, full>>10, before>>10, after>>10, float64(after)/bound)
	if float64(after) > 1.6*bound {
		t.Errorf("the shard logs have %d bytes, the points show %.0f", after, bound)
	}
}
