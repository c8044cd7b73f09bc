package gc

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// deciding applies what is proposed at once.
type deciding struct {
	m      *catalog.StateMachine
	serial uint64
}

func (d *deciding) Barrier(context.Context) error { return nil }

func (d *deciding) Propose(_ context.Context, cmd catalog.Command) (any, error) {
	d.serial++
	return catalog.DecodeOutcome(d.m.Apply(d.serial, catalog.Envelope{Client: catalog.ClientID{1}, Serial: d.serial, Floor: d.serial, Cmd: cmd}))
}

func (d *deciding) must(t *testing.T, cmd catalog.Command) {
	t.Helper()
	if _, err := d.Propose(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
}

// A node says that it has deleted the points of a group when it has, not when it
// cannot tell what it has.
func TestDeletionIsNotReportedUnseen(t *testing.T) {
	d := &deciding{m: catalog.NewStateMachine()}
	d.must(t, catalog.PutNode{Node: catalog.NodeInfo{ID: "n1", Addr: "a:1", Instance: "i"}})
	d.must(t, catalog.CreateGroup{ID: "shop", UUID: "u", Source: "web1", Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}}, K: 1})
	log, err := segment.Open("/log", segment.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	put := func(e redoubt.Epoch) {
		t.Helper()
		id := segment.ID{Group: "shop", UUID: "u", Epoch: e}
		if err := log.Put(t.Context(), &segment.Shard{ID: id, K: 1, Size: 1, Data: []byte{1}}); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	for _, op := range []catalog.Operation{catalog.OpUnprotect, catalog.OpDeletePoints} {
		g, _ := d.m.Catalog().Group("shop")
		d.must(t, catalog.Operate{Group: "shop", Epoch: g.Epoch, Op: op})
	}
	c := New(t.Context(), Options{Self: "n1", Log: log, Catalog: d.m.Catalog(), Cluster: d, Logger: slog.New(slog.DiscardHandler)})
	left := func() int { return len(d.m.Catalog().Standing("shop").Left) }
	if err := c.reportErased(t.Context()); err != nil || left() != 1 {
		t.Errorf("it has a shard: %v, and %d nodes are to delete theirs", err, left())
	}
	if err := log.Discard(segment.ID{Group: "shop", UUID: "u", Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.reportErased(t.Context()); !errors.Is(err, redoubt.ErrClosed) || left() != 1 {
		t.Errorf("it cannot tell what it has: %v, and %d nodes are to delete theirs", err, left())
	}
}

// Nothing stays of a group whose name another one has taken: not of what comes
// late, nor what a restart finds again in the log, which keeps no tombstones.
func TestNothingStaysOfAGroupThatWasReplaced(t *testing.T) {
	d := &deciding{m: catalog.NewStateMachine()}
	d.must(t, catalog.PutNode{Node: catalog.NodeInfo{ID: "n1", Addr: "a:1", Instance: "i"}})
	group := catalog.CreateGroup{ID: "shop", UUID: "u", Source: "web1", Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}}, K: 1}
	d.must(t, group)
	fs := vfs.NewMem()
	open := func() *segment.Log {
		t.Helper()
		log, err := segment.Open("/log", segment.Options{FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	log := open()
	old, now := segment.ID{Group: "shop", UUID: "u", Epoch: 1}, segment.ID{Group: "shop", UUID: "v", Epoch: 1}
	put := func(id segment.ID) {
		t.Helper()
		if err := log.Put(t.Context(), &segment.Shard{ID: id, K: 1, Size: 1, Data: []byte{1}}); err != nil {
			t.Fatal(err)
		}
	}
	put(old)
	if err := log.Discard(old); err != nil {
		t.Fatal(err)
	}
	d.must(t, catalog.Operate{Group: "shop", Epoch: 1, Op: catalog.OpUnprotect})
	group.UUID, group.Source = "v", "web2"
	d.must(t, catalog.RenewGroup(group))
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	log = open()
	put(now)
	put(segment.ID{Group: "later", UUID: "w", Epoch: 1}) // of a group that this catalog does not know yet
	c := New(t.Context(), Options{Self: "n1", Log: log, Catalog: d.m.Catalog(), Cluster: d, Logger: slog.New(slog.DiscardHandler)})
	for again := range 2 {
		var has []string
		if err := log.Each(func(i segment.Info) bool { has = append(has, i.ID.UUID); return true }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(has)
		if want := [][]string{{"u", "v", "w"}, {"v", "w"}}[again]; !slices.Equal(has, want) {
			t.Fatalf("round %d: shards of %v, want %v", again, has, want)
		}
		if err := c.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
