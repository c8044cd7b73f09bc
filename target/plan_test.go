package target

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/history"
	"github.com/redoubt-dr/redoubt/target/shards"
	"github.com/redoubt-dr/redoubt/target/thin"
)

// aged is a site with some hours of a group's history, of which nothing is
// thinned yet.
func aged(t *testing.T, seed uint64) *feed {
	t.Helper()
	c := &clock{}
	c.set(day1())
	return agedOn(newSiteAt(t, 3, c.now), c, seed)
}

func agedOn(s *site, c *clock, seed uint64) *feed {
	t := s.t
	t.Helper()
	f := newFeed(t, s, c, seeded.By(seed))
	p, err := catalog.ParsePolicy("every=2m,1s=20m,1m=1h,1h=3h,bookmarks=1h")
	noErr(t, err)
	f.policy(p)
	f.baseline()
	for range 30 {
		c.add(10 * time.Minute)
		f.burst(20, 300*time.Millisecond)
	}
	return f
}

// manifests are the group's segments as the catalog has them.
func (f *feed) manifests() (out []catalog.Segment) {
	c := f.s.owner(f.group).node.Catalog()
	for i := uint64(0); i < c.SegmentCount(f.group, 1); i++ {
		sg := c.Segments(f.group, 1, i, 1)[0]
		sg.Nodes, sg.Stored = nil, 0
		out = append(out, sg)
	}
	return out
}

// loses is a cluster that dies before it commits a step of a plan.
type loses struct {
	thin.Cluster
	step catalog.ThinSegments
}

var errLost = errors.New("the node died")

func (l *loses) Propose(_ context.Context, cmd catalog.Command) (any, error) {
	l.step = cmd.(catalog.ThinSegments)
	return nil, errLost
}

// A plan whose owner crashes at each of its steps comes to the same end as one
// that is carried out at once.
func TestPlanSurvivesCrashes(t *testing.T) {
	seed := seeded.Rand(t).Uint64()
	whole := aged(t, seed)
	noErr(t, whole.owner.store.Retention().Retain(t.Context(), whole.group))

	f := aged(t, seed)
	crash := func() *host {
		t.Helper()
		o := f.s.owner(f.group)
		o.stop()
		o.start()
		o = f.s.owner(f.group)
		f.s.eventually("an owner that stays", func() bool {
			o = f.s.owner(f.group)
			if o.node.Barrier(t.Context()) != nil {
				return false
			}
			g, _ := o.node.Catalog().Group(f.group)
			return g.Owner == o.id && len(o.store.Stats().Down) == 0
		})
		f.owner = o
		return o
	}
	f.st.Close()
	begun, err := f.owner.store.Retention().Begin(t.Context(), f.group)
	noErr(t, err)
	if !begun {
		t.Fatal("there is nothing to do")
	}
	o := crash()
	step := func(commit bool) catalog.Phase {
		t.Helper()
		r := o.node.Catalog().Retention(f.group)
		if r.Plan == nil {
			return 0
		}
		opts := o.store.thinning()
		opts.Batch = 8
		if r.Plan.Phase == catalog.PhaseAnnounced {
			th := thin.New(t.Context(), opts)
			f.s.eventually("all nodes say what they read", func() bool { _, err := th.Step(t.Context(), f.group); return err == nil })
			return catalog.PhaseAnnounced
		}
		if !commit { // the shards are durable, their manifests are lost
			lost := &loses{Cluster: opts.Cluster}
			opts.Cluster = lost
			_, err := thin.New(t.Context(), opts).Step(t.Context(), f.group)
			isErr(t, err, errLost)
			noErr(t, o.store.garbage.Collect(t.Context())) // must not take what is about to be named
			g, _ := o.node.Catalog().Group(f.group)
			for _, n := range lost.step.Segments {
				for i, node := range n.Segment.Nodes {
					if node == o.id && !o.has(shards.ID(shards.SeriesOf(&g, 1), &n.Segment, i)) {
						t.Errorf("shard %d of what is left of segment %d is gone before it is named", i, n.Segment.Ordinal)
					}
				}
			}
			return r.Plan.Phase
		}
		phase, err := thin.New(t.Context(), opts).Step(t.Context(), f.group)
		noErr(t, err)
		return phase
	}
	for n := 0; step(true) != 0; n++ {
		if n < 3 {
			o = crash()
			step(false)
		}
	}
	noErr(t, o.store.Retention().Retain(t.Context(), f.group))
	f.synced()
	if !slices.Equal(f.retained(), whole.retained()) {
		t.Error("other points are kept")
	}
	a, b := whole.manifests(), f.manifests()
	if len(a) != len(b) {
		t.Fatalf("%d segments, %d without crashes", len(b), len(a))
	}
	gone := 0
	for i := range a {
		if a[i].Gone() {
			gone++
		}
		if a[i].CRC != b[i].CRC || a[i].Size != b[i].Size {
			t.Errorf("segment %d differs: %+v, without crashes %+v", i, b[i], a[i])
		}
	}
	t.Logf("%d segments, %d dropped", len(a), gone)
	f.check(f.retained(), 1)
	for _, h := range f.s.nodes {
		noErr(t, h.store.garbage.Collect(t.Context()))
		for _, sg := range f.manifests() {
			for i := range 3 {
				g, _ := h.node.Catalog().Group(f.group)
				if sg.Gone() && h.has(shards.ID(shards.SeriesOf(&g, 1), &sg, i)) {
					t.Errorf("%s still has a shard of segment %d, of which nothing is left", h.id, sg.Ordinal)
				}
			}
		}
	}
	f.check(f.retained(), 1)
}

// A point that somebody has open stays readable and comes back into the
// timeline; when it is closed it goes.
func TestOpenPointIsSafe(t *testing.T) {
	f := aged(t, seeded.Rand(t).Uint64())
	ctx := t.Context()
	l := redoubt.LSN(len(f.all) - 10*20 + 7) // in the middle of a second, more than an hour ago
	v, err := f.s.nodes[1].store.View(ctx, f.group, f.position(l))
	noErr(t, err)
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	if !slices.Contains(f.retained(), l) || slices.Contains(f.retained(), l+1) {
		t.Fatal("the open point is gone, or its neighbour is not")
	}
	noErr(t, f.owner.store.garbage.Collect(ctx))
	f.check([]redoubt.LSN{l}, 1)
	got := make([]byte, f.disk.Size)
	noErr(t, v.ReadAt(1, got, 0))
	noErr(t, v.Close())
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	_, err = f.s.nodes[1].store.View(ctx, f.group, f.position(l))
	isErr(t, err, redoubt.ErrNotFound)
	if redoubt.Hint(err) == "" {
		t.Error("the refusal does not name the points around")
	}
	if n := f.s.nodes[1].store.leases.Of(f.group); len(n) > 0 {
		t.Errorf("leases are left: %v", n)
	}
	// A time within the gap is the state of the point before it.
	p, at, err := f.s.nodes[2].store.History().Resolve(ctx, f.group, history.PointSpec{Time: time.Unix(0, f.all[l-1].time)})
	noErr(t, err)
	if !slices.Contains(f.retained(), p.LSN) || p.LSN >= l || at.UnixNano() != f.all[p.LSN-1].time {
		t.Errorf("the time of LSN %d is now %s of %s", l, p, at)
	}
}

// A node that does not answer may have a point open: nothing goes.
func TestSilentNodeHoldsPlansBack(t *testing.T) {
	f := aged(t, seeded.Rand(t).Uint64())
	away := f.s.nodes[0]
	if away == f.owner {
		away = f.s.nodes[1]
	}
	away.stop()
	before := f.manifests()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := f.owner.store.Retention().Retain(ctx, f.group); err == nil {
		t.Error("bytes went although a node did not say what it reads")
	}
	for i, sg := range f.manifests() {
		if sg.CRC != before[i].CRC || sg.Gone() != before[i].Gone() {
			t.Fatal("a segment changed")
		}
	}
	away.start()
	f.s.eventually("the plan goes on", func() bool { return f.owner.store.Retention().Retain(t.Context(), f.group) == nil })
	f.check(f.retained(), 1)
}

// No clock makes history older than it is.
func TestClockThatJumps(t *testing.T) {
	f := aged(t, seeded.Rand(t).Uint64())
	ctx := t.Context()
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	want, now := f.retained(), f.c.now()
	f.c.add(10 * 365 * 24 * time.Hour) // of the secondary alone
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	if !slices.Equal(f.retained(), want) {
		t.Fatal("the secondary's clock took points away")
	}
	f.burst(1, time.Second) // of the source, too
	err := f.owner.store.Retention().Retain(ctx, f.group)
	isErr(t, err, redoubt.ErrState)
	want = append(want, redoubt.LSN(len(f.all)))
	if !slices.Equal(f.retained(), want) {
		t.Fatal("a jump of ten years took points away")
	}
	f.c.set(now.Add(time.Minute)) // of the source alone: the secondary's clock is the smaller one
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.c.add(10 * 365 * 24 * time.Hour)
	_, err = f.owner.store.Retention().ConfirmClock(ctx, f.group)
	noErr(t, err)
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	if got := f.retained(); len(got) > 2 {
		t.Fatalf("ten years are confirmed, %d points are left", len(got))
	}
	f.check(f.retained(), 1)
}

// Preview says beforehand what Retain then does.
func TestPreviewIsTheTruth(t *testing.T) {
	f := aged(t, seeded.Rand(t).Uint64())
	ctx := t.Context()
	before := uint64(len(f.retained()))
	p, err := f.owner.store.Retention().Preview(ctx, f.group, nil)
	noErr(t, err)
	var keep, drop uint64
	for _, k := range p.Keep {
		keep += k.Points
	}
	for _, d := range p.Drop {
		drop += d.Points
	}
	if keep+drop != before || drop == 0 || p.Frees == 0 || p.Forecast.Free == 0 {
		t.Errorf("of %d points %d stay and %d go: %+v", before, keep, drop, p)
	}
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	if got := uint64(len(f.retained())); got != keep {
		t.Errorf("%d points are left, %d were announced", got, keep)
	}
	ps, err := f.s.nodes[2].store.History().Points(ctx, f.group, 1<<20)
	noErr(t, err)
	n := uint64(0)
	for _, p := range ps {
		n += uint64(p.Position.LSN - p.First + 1)
	}
	if n != keep {
		t.Errorf("%d points are listed, %d are kept", n, keep)
	}
	if _, err := f.owner.store.Retention().Preview(ctx, "none", nil); !errors.Is(err, redoubt.ErrNotFound) {
		t.Error(err)
	}
}
