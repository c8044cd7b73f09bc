package target

import (
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/history"
)

func markOf(b redoubt.Bookmark) redoubt.Write {
	data := b.Encode()
	return redoubt.Write{Kind: redoubt.KindBookmark, Data: data, CRC: redoubt.Checksum(data)}
}

func (f *feed) resolves(spec history.PointSpec, want redoubt.LSN) {
	f.t.Helper()
	p, _, err := f.owner.store.History().Resolve(f.t.Context(), f.group, spec)
	if want == 0 {
		isErr(f.t, err, redoubt.ErrNotFound)
		return
	}
	if err != nil || p != f.position(want) {
		f.t.Errorf("%+v is %v, %v, want %d", spec, p, err, want)
	}
}

// TestBookmarksByNameAndKind makes bookmarks among writes, lets retention take
// what is between them, and asks for each.
func TestBookmarksByNameAndKind(t *testing.T) {
	rng := seeded.Rand(t)
	c := &clock{}
	c.set(day1())
	s := newSiteAt(t, 3, c.now)
	f := newFeed(t, s, c, rng)
	p, err := catalog.ParsePolicy("every=2m,1m=10m,bookmarks=3h")
	noErr(t, err)
	f.policy(p)
	f.baseline()
	set := redoubt.SetID{7}
	where := map[string]redoubt.LSN{}
	for _, b := range []redoubt.Bookmark{{Name: "a"}, {Name: "app1", App: true}, {Name: "a"}, {Name: "both", App: true, Set: set}, {Name: "last"}} {
		c.add(time.Minute)
		f.burst(20, 200*time.Millisecond, markOf(b))
		// The bookmark is the last of the burst.
		where[b.Name] = redoubt.LSN(len(f.all))
	}
	all := func() {
		t.Helper()
		f.resolves(history.PointSpec{Bookmark: "a"}, where["a"])
		f.resolves(history.PointSpec{Bookmark: "last"}, where["last"])
		f.resolves(history.PointSpec{Bookmark: "none"}, 0)
	}
	all()
	f.resolves(history.PointSpec{Bookmark: "both"}, 0)
	f.resolves(history.PointSpec{App: true}, where["app1"])
	g, _ := f.owner.node.Catalog().Group(f.group)
	_, err = f.owner.node.Propose(t.Context(), catalog.CommitSet{Set: catalog.Set{ID: set, Name: "both",
		Members: []catalog.SetMember{{Group: g.ID, Position: f.position(where["both"])}}}})
	noErr(t, err)
	f.resolves(history.PointSpec{Bookmark: "both"}, where["both"])
	f.resolves(history.PointSpec{App: true}, where["both"])
	f.resolves(history.PointSpec{App: true, Before: f.position(where["both"] - 1)}, where["app1"])

	ps, err := f.owner.store.History().Points(t.Context(), f.group, 1000)
	noErr(t, err)
	names := map[string]bool{}
	for _, p := range ps {
		if p.Bookmark != "" {
			names[p.Bookmark] = p.App
		}
	}
	if len(names) != 4 || !names["app1"] || !names["both"] || names["last"] {
		t.Errorf("points with names: %v", names)
	}

	c.add(time.Hour)
	f.burst(20, 200*time.Millisecond)
	noErr(t, f.owner.store.Retention().Retain(t.Context(), f.group))
	f.synced()
	if r := f.owner.node.Catalog().Retention(f.group); len(r.Marks) != 5 || r.Has(f.position(where["a"]-1)) {
		t.Fatalf("retention took nothing, or bookmarks: %+v", r.Marks)
	}
	all()
	f.resolves(history.PointSpec{App: true}, where["both"])
	bs, err := f.owner.store.History().Bookmarks(t.Context(), f.group, 3)
	noErr(t, err)
	if len(bs) != 3 || bs[0].Name != "last" || bs[1].Set != set || bs[2].Name != "a" {
		t.Errorf("list: %+v", bs)
	}

	c.add(3 * time.Hour)
	f.burst(20, 200*time.Millisecond)
	noErr(t, f.owner.store.Retention().Retain(t.Context(), f.group))
	f.synced()
	f.resolves(history.PointSpec{App: true}, 0)
	f.resolves(history.PointSpec{Bookmark: "a"}, 0)
}
