package target

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/history"
)

// Every point hashes as the model says, on every node, while one node is away
// for a part of the time, and the node gets its shards when it is back.
func TestHistory(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.write(20)
	src.shipped()
	_, err := s.nodes[0].store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: 1})
	isErr(t, err, redoubt.ErrNotFound)

	g, _ := s.nodes[0].node.Catalog().Group(src.group)
	if g.Baseline == 0 || g.State != catalog.StateProtected {
		t.Fatalf("after the copy: baseline %d, %s", g.Baseline, g.State)
	}
	for range 6 {
		src.write(100 + rng.IntN(100))
		src.snap()
	}
	away := s.nodes[0]
	if s.owner(src.group) == away {
		away = s.nodes[1]
	}
	src.shipped()
	away.stop()
	for range 6 {
		src.write(100 + rng.IntN(100))
		src.snap()
	}
	src.shipped()
	if r, _ := s.owner(src.group).store.Redundancy(src.group); r.Degraded == 0 {
		t.Error("with a node away no segment is degraded")
	}
	src.checkAll(1)
	away.start()
	for range 8 {
		src.write(100 + rng.IntN(100))
		src.snap()
	}
	src.shipped()
	noErr(t, stopped(stop()))
	s.whole(src.group)
	if st := away.store.Stats(); st.Repair.Repaired == 0 {
		t.Error("the node that came back has rebuilt nothing")
	}
	s.eventually("the catalog of the node that came back", func() bool {
		g, _ := away.node.Catalog().Group(src.group)
		return g.Committed.LSN == src.j.Head().LSN
	})
	src.checkAll(1)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, h := range s.nodes {
		noErr(t, h.store.idx.Settle(ctx))
	}
	src.checkAll(1)
	resolve(t, s.nodes[2].store, src)
	changed(t, s.nodes[1].store, src)
	sparse(t, s.nodes[0].store, src)

	// With any one node away everything can still be read.
	for _, h := range s.nodes {
		s.whole(src.group) // a segment that lacks a shard does not promise to outlive a node
		h.stop()
		src.checkAll(1)
		h.start()
		s.eventually("the node is back", func() bool {
			_, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: src.j.Head().LSN})
			return err == nil
		})
	}
	for _, h := range s.nodes {
		h.stop()
		rep, err := Verify(vfs.OS, h.dir)
		noErr(t, err)
		if len(rep.Shards.Damage)+len(rep.Index.Damage) > 0 || rep.Shards.Shards == 0 {
			t.Errorf("verify %s: %+v", h.id, rep)
		}
	}
}

func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func resolve(t *testing.T, s *Store, src *source) {
	t.Helper()
	ctx := t.Context()
	p, _, err := s.History().Resolve(ctx, src.group, history.PointSpec{})
	noErr(t, err)
	if p != (redoubt.Position{Epoch: 1, LSN: src.j.Head().LSN}) {
		t.Errorf("latest is %s, the journal's head %s", p, src.j.Head())
	}
	for l := range src.snaps {
		p, at, err := s.History().Resolve(ctx, src.group, history.PointSpec{LSN: l})
		noErr(t, err)
		if p.LSN != l || at.UnixNano() != src.times[l] {
			t.Errorf("LSN %d resolves to %s at %d, written at %d", l, p, at.UnixNano(), src.times[l])
		}
		p, _, err = s.History().Resolve(ctx, src.group, history.PointSpec{Time: time.Unix(0, src.times[l])})
		noErr(t, err)
		if p.LSN < l || src.timeOf(p.LSN) > src.times[l] {
			t.Errorf("the time of LSN %d resolves to %s", l, p)
		}
		p, _, err = s.History().Resolve(ctx, src.group, history.PointSpec{Time: time.Unix(0, src.times[l]-1)})
		noErr(t, err)
		if p.LSN >= l {
			t.Errorf("just before LSN %d is %s", l, p)
		}
	}
	for _, bad := range []history.PointSpec{{LSN: 1}, {LSN: src.j.Head().LSN + 1}, {Position: redoubt.Position{Epoch: 2, LSN: 1}}, {Time: time.Unix(1, 0)},
		{Time: time.Now().Add(time.Hour)}, {Bookmark: "none"}} {
		if p, _, err := s.History().Resolve(ctx, src.group, bad); err == nil {
			t.Errorf("%s resolves to %s", bad, p)
		}
	}
	ps, err := s.History().Points(ctx, src.group, 5)
	noErr(t, err)
	if len(ps) != 5 || ps[0].Position.LSN != src.j.Head().LSN || ps[1].Position.LSN != ps[0].First-1 {
		t.Errorf("points: %+v", ps)
	}
}

// timeOf reads a write's time from the journal.
func (s *source) timeOf(l redoubt.LSN) (at int64) {
	noErr(s.t, s.j.Replay(l, func(w *redoubt.Write) error {
		if at == 0 {
			at = w.Time
		}
		return nil
	}))
	return at
}

func changed(t *testing.T, s *Store, src *source) {
	t.Helper()
	var ls []redoubt.LSN
	for l := range src.snaps {
		ls = append(ls, l)
	}
	from, to := min(ls[0], ls[1]), max(ls[0], ls[1])
	got, err := s.History().Changed(t.Context(), src.group, redoubt.Stretch{Epoch: 1, From: from, To: to})
	noErr(t, err)
	in := func(d int, b uint64) bool {
		for _, e := range got[redoubt.DiskID(d+1)] {
			if b >= e.Off && b < e.End() {
				return true
			}
		}
		return false
	}
	for d := range src.disks {
		for b := range src.snaps[from][d] {
			if src.snaps[from][d][b] != src.snaps[to][d][b] && !in(d, uint64(b)) {
				t.Fatalf("disk %d byte %d changed in (%d, %d], Changed does not say so", d+1, b, from, to)
			}
		}
	}
}

func sparse(t *testing.T, s *Store, src *source) {
	t.Helper()
	for l, want := range src.snaps {
		v, err := s.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: l})
		noErr(t, err)
		for i, d := range src.disks {
			got := make([]byte, d.Size)
			for from := uint64(0); ; {
				e, ok, err := v.NextData(d.ID, from)
				noErr(t, err)
				if !ok {
					break
				}
				noErr(t, v.ReadAt(d.ID, got[e.Off:e.End()], e.Off))
				from = e.End()
			}
			if redoubt.Checksum(got) != redoubt.Checksum(want[i]) {
				t.Fatalf("LSN %d: the sparse copy of disk %s differs", l, d.Name)
			}
		}
		isErr(t, v.ReadAt(1, make([]byte, 2), src.disks[0].Size-1), redoubt.ErrOutOfRange)
		isErr(t, v.ReadAt(9, make([]byte, 2), 0), redoubt.ErrNotFound)
		v.Close()
		isErr(t, v.ReadAt(1, make([]byte, 2), 0), redoubt.ErrClosed)
		return
	}
}

// The owner dies under load: another one goes on, without a gap.
func TestOwnerDies(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	for range 2 {
		src.write(200)
		src.snap()
		// A segment without all of its shards does not promise to outlive a node.
		src.shipped()
		s.whole(src.group)
		old := s.owner(src.group)
		old.stop()
		src.write(200)
		src.snap()
		src.shipped()
		if now := s.owner(src.group); now == old {
			t.Fatal("the owner did not change")
		}
		src.checkAll(1)
		old.start()
		src.write(50)
		src.shipped()
		s.whole(src.group) // or the next one to die would be the second
		s.eventually("the owner knows that all nodes are up", func() bool { return len(s.owner(src.group).store.Stats().Down) == 0 })
	}
	noErr(t, stopped(stop()))
	s.whole(src.group)
	src.checkAll(1)
}

// After a promotion the old writer is refused, the new one goes on, and points
// on both sides of the fork are right.
func TestFencing(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	src.write(100)
	fork := src.snap()
	src.write(100)
	src.shipped()
	src.snap()
	o := s.owner(src.group)
	s.eventually("contact on all nodes", func() bool {
		for _, h := range s.nodes {
			if head, _, _ := h.store.Head(src.group); head != src.j.Head().LSN {
				return false
			}
		}
		return true
	})
	_, err := o.node.Propose(t.Context(), catalog.Promote{Group: src.group, Kind: catalog.PromoteUnplanned, Point: redoubt.Position{Epoch: 1, LSN: fork},
		NewEpoch: 2, Writer: catalog.TargetWriter(o.id), Now: 1})
	noErr(t, err)
	src.write(10)
	var fenced *ship.FencedError
	select {
	case <-src.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the source is not fenced within 20 s")
	}
	if err := stop(); !errors.As(err, &fenced) {
		t.Fatalf("the sender ended with %v", err)
	}
	if w := fenced.Welcome; w.Epoch != 2 || w.Writer != "target/"+string(o.id) || w.Committed != (redoubt.Position{Epoch: 2, LSN: fork}) {
		t.Errorf("fenced welcome: %+v", w)
	}
	src.checkAll(1) // the left branch stays
	src.checkView(o, redoubt.Position{Epoch: 2, LSN: fork}, src.snaps[fork])
	p, _, err := o.store.History().Resolve(t.Context(), src.group, history.PointSpec{})
	noErr(t, err)
	if p != (redoubt.Position{Epoch: 2, LSN: fork}) {
		t.Errorf("latest after the promotion: %s", p)
	}
	p, _, err = o.store.History().Resolve(t.Context(), src.group, history.PointSpec{LSN: fork + 50, Before: redoubt.Position{Epoch: 1, LSN: fork + 100}})
	noErr(t, err)
	if p != (redoubt.Position{Epoch: 1, LSN: fork + 50}) {
		t.Errorf("a point of before the failover: %s", p)
	}
}
