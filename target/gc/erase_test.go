package gc

import (
	"context"
	"errors"
	"log/slog"
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

// A node says that it has deleted the points of a group when it has, not when it
// cannot tell what it has.
func TestDeletionIsNotReportedUnseen(t *testing.T) {
	d := &deciding{m: catalog.NewStateMachine()}
	must := func(cmd catalog.Command) {
		t.Helper()
		if _, err := d.Propose(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	must(catalog.PutNode{Node: catalog.NodeInfo{ID: "n1", Addr: "a:1", Instance: "i"}})
	must(catalog.CreateGroup{ID: "shop", UUID: "u", Source: "web1", Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}}, K: 1})
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
		must(catalog.Operate{Group: "shop", Epoch: g.Epoch, Op: op})
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
