package source

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// Whoever hears first of an epoch that begins with a comparison must not take it
// over as if a failover had been cancelled, nor fence the disks: it is begun where
// the copies are at rest.
func TestResyncIsLeftToTheSender(t *testing.T) {
	h, g := openOne(t, nbdConfig(t, ""))
	defer h.Close()
	v := g.disks.Volumes()[0]
	if err := v.Write(make([]byte, 4096), 0, true); err != nil {
		t.Fatal(err)
	}
	at := g.journal.Head()
	w := ship.Welcome{Epoch: 2, Lineage: redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: at.LSN}}, Writer: "source/host1", Compare: at, UUID: g.uuid()}
	if g.obey(w) {
		t.Error("the role changed")
	}
	if _, err := g.heed(w); err != nil {
		t.Error(err)
	}
	if r := g.Role(); r.Epoch != 1 || r.Mode != ModeWriter || g.journal.Epoch() != 1 || g.disks.ReadOnly() != nil {
		t.Fatalf("%+v, journal in epoch %d, read-only: %v", r, g.journal.Epoch(), g.disks.ReadOnly())
	}
	if err := g.beginResync(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if r := g.Role(); r.Epoch != 2 || r.Mode != ModeWriter || g.journal.Head() != (redoubt.Position{Epoch: 2, LSN: at.LSN}) {
		t.Fatalf("%+v, head %s", r, g.journal.Head())
	}
	if _, comparing := g.copy.Differing(); !comparing {
		t.Error("nothing is compared")
	}
	if err := v.Write(make([]byte, 4096), 4096, true); err != nil {
		t.Fatal(err)
	}
}
