package target

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/target/history"
)

// branch is the group as the node h writes it after a promotion at LSN at of
// epoch parent.
func (s *source) branch(h *host, lin redoubt.Lineage) *source {
	s.t.Helper()
	f := lin[len(lin)-1]
	b := &source{t: s.t, site: s.site, name: s.name, group: s.group, cred: h.cred, rng: s.rng, disks: s.disks, maxDelta: s.maxDelta, lin: lin,
		snaps: map[redoubt.LSN][][]byte{}, times: map[redoubt.LSN]int64{}}
	for _, d := range s.snaps[f.At] {
		b.now = append(b.now, append([]byte(nil), d...))
	}
	var err error
	b.j, err = journal.Open(filepath.Join(s.t.TempDir(), "journal"), journal.Options{FS: vfs.OS, Create: true, SegmentSize: 4 << 20,
		Start: redoubt.Position{Epoch: f.Epoch, LSN: f.At}})
	noErr(s.t, err)
	s.t.Cleanup(func() { noErr(s.t, b.j.Close()) })
	return b
}

// After a promotion the node that exports the disks writes the next epoch into
// the same group; another promotion on top of that makes a tree. Points of every
// branch stay right.
func TestBranches(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	src.write(150)
	fork := src.snap()
	src.write(150)
	src.snap()
	src.shipped()
	noErr(t, stopped(stop()))

	promote := func(kind catalog.PromoteKind, at redoubt.Position, e redoubt.Epoch, h *host) redoubt.Lineage {
		_, err := h.node.Propose(t.Context(), catalog.Promote{Group: src.group, Kind: kind, Point: at, NewEpoch: e, Writer: catalog.TargetWriter(h.id), Now: time.Now().UnixNano()})
		noErr(t, err)
		g, _ := h.node.Catalog().Group(src.group)
		return g.Lineage
	}
	// Not the owner, so that its stream goes over the wire.
	var w *host
	for _, h := range s.nodes {
		if h != s.owner(src.group) {
			w = h
		}
	}
	two := src.branch(w, promote(catalog.PromoteUnplanned, redoubt.Position{Epoch: 1, LSN: fork}, 2, w))
	stop = two.run()
	for range 5 {
		two.write(80)
		two.snap()
	}
	two.shipped()
	noErr(t, stopped(stop()))

	// Another point instead: before the first fork.
	early := fork - 50
	src.snaps[early] = src.viewOf(w, redoubt.Position{Epoch: 1, LSN: early})
	three := src.branch(w, promote(catalog.PromoteChange, redoubt.Position{Epoch: 1, LSN: early}, 3, w))
	stop = three.run()
	for range 5 {
		three.write(80)
		three.snap()
	}
	three.shipped()
	noErr(t, stopped(stop()))

	src.checkAll(1)
	two.checkAll(2)
	three.checkAll(3)
	p, _, err := w.store.History().Resolve(t.Context(), src.group, history.PointSpec{LSN: early - 1})
	noErr(t, err)
	if p.Epoch != 1 {
		t.Errorf("LSN %d on the current history is %s", early-1, p)
	}
	p, _, err = w.store.History().Resolve(t.Context(), src.group, history.PointSpec{LSN: early + 1})
	noErr(t, err)
	if p.Epoch != 3 {
		t.Errorf("LSN %d on the current history is %s", early+1, p)
	}
	p, at, err := w.store.History().Resolve(t.Context(), src.group, history.PointSpec{Time: time.Now()})
	noErr(t, err)
	if p != three.j.Head() || at.UnixNano() != three.j.HeadTime() {
		t.Errorf("now is %s at %v, the head %s", p, at, three.j.Head())
	}
	_, err = w.store.View(t.Context(), src.group, redoubt.Position{Epoch: 3, LSN: early - 1})
	isErr(t, err, redoubt.ErrNotFound) // that LSN belongs to epoch 1
	ps, err := w.store.History().Points(t.Context(), src.group, 1000)
	noErr(t, err)
	for i, q := range ps {
		if i > 0 && q.Position.LSN != ps[i-1].First-1 || q.Position.Epoch == 2 {
			t.Errorf("point %d is %+v after %+v", i, q, ps[i-1])
		}
	}
	changed(t, w.store, src)
}

// viewOf reads all disks at a point; the model has no copy of it.
func (s *source) viewOf(h *host, p redoubt.Position) (out [][]byte) {
	s.t.Helper()
	v, err := h.store.View(s.t.Context(), s.group, p)
	noErr(s.t, err)
	defer v.Close()
	for _, d := range s.disks {
		b := make([]byte, d.Size)
		noErr(s.t, v.ReadAt(d.ID, b, 0))
		out = append(out, b)
	}
	return out
}
