package target

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
)

// promoted fails the group over to a point and, before anything is written
// there, back: the source goes on from it in epoch 3, as the writer that is
// returned. Then nothing but the branch needs the state at the point.
func (f *feed) promoted(at redoubt.LSN) *feed {
	t := f.t
	t.Helper()
	f.st.Close()
	propose := func(c catalog.Command) {
		t.Helper()
		_, err := f.owner.node.Propose(t.Context(), c)
		noErr(t, err)
	}
	propose(catalog.Promote{Group: f.group, Kind: catalog.PromoteUnplanned, Point: f.position(at), NewEpoch: 2, Writer: "target/n1", Now: f.c.now().UnixNano()})
	propose(catalog.CommitFailover{Group: f.group, Epoch: 2, Now: f.c.now().UnixNano()})
	propose(catalog.ReverseReplicate{Group: f.group, Epoch: 2, Now: f.c.now().UnixNano()})
	propose(catalog.Promote{Group: f.group, Kind: catalog.PromoteFailback, Point: redoubt.Position{Epoch: 2, LSN: at}, NewEpoch: 3, Writer: "source/web1"})
	g, _ := f.owner.node.Catalog().Group(f.group)
	n := *f
	n.epoch, n.fork, n.all = 3, at, slices.Clone(f.all[:at])
	_, st, err := f.owner.store.Sink().Hello(t.Context(), pki.Identity{Role: pki.RoleSource, Name: "web1"},
		ship.Hello{Group: f.group, UUID: "u1", Source: "web1", Epoch: 3, Lineage: g.Lineage, Head: at, Disks: []redoubt.Disk{f.disk}})
	noErr(t, err)
	noErr(t, st.Begin(at+1))
	n.st = st
	t.Cleanup(st.Close)
	return &n
}

// The branch that a failover leaves behind keeps its points for as long as the
// policy says, the trunk is thinned across the fork, and when the branch has no
// point left its bytes go.
func TestBranchesAgeAndGo(t *testing.T) {
	f := aged(t, seeded.Rand(t).Uint64())
	ctx := t.Context()
	noErr(t, f.owner.store.Retention().Retain(ctx, f.group))
	f.synced()
	for range 2 { // so that the trunk goes on within the fork's hour
		f.c.add(10 * time.Minute)
		f.burst(20, 300*time.Millisecond)
	}
	fork := redoubt.LSN(len(f.all) - 27) // in the middle of a second: no tier keeps it
	n := f.promoted(fork)
	branch := func() (out []redoubt.LSN) {
		for _, l := range f.retained() {
			if l > fork {
				out = append(out, l)
			}
		}
		return out
	}
	for i := range 36 {
		n.c.add(10 * time.Minute)
		n.burst(20, 300*time.Millisecond)
		if i%4 != 3 {
			continue
		}
		noErr(t, n.owner.store.Retention().Retain(ctx, n.group))
		n.synced()
		b := branch()
		if i > 12 && slices.Contains(f.retained(), fork) {
			t.Error("the fork is still a point: this test says nothing")
		}
		t.Logf("%d points on the trunk, %d on the branch", len(n.retained()), len(b))
		n.check(n.retained(), 1)
		if i < 8 && len(b) == 0 {
			t.Error("the branch lost its points too early")
		}
		if len(b) > 0 {
			f.check(b, 1)
		}
	}
	if b := branch(); len(b) > 0 {
		t.Errorf("the branch still has points: %v", b)
	}
	for _, sg := range n.owner.node.Catalog().Segments(n.group, 1, 0, 1000) {
		if sg.First > fork && !sg.Gone() {
			t.Errorf("segment %d of the branch has no point and is still there", sg.Ordinal)
		}
	}
	_, err := n.owner.store.View(ctx, n.group, redoubt.Position{Epoch: 1, LSN: fork + 1})
	isErr(t, err, redoubt.ErrNotFound)
}
