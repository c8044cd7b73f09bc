package target

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
)

// Once the points of a group are deleted on all nodes, another host can protect
// a group of its name, and nothing of before is held against it.
func TestNameOfADeletedGroup(t *testing.T) {
	s := newSite(t, 3)
	src := newSource(t, s, seeded.Rand(t))
	stop := src.run()
	src.copyAll()
	src.write(20)
	src.shipped()
	noErr(t, stopped(stop()))
	_, err := s.nodes[0].node.Propose(t.Context(), catalog.BindJournal{Group: src.group, Epoch: 1, Journal: "of-before"})
	noErr(t, err)
	other := pki.Identity{Role: pki.RoleSource, Name: "web2"}
	h := ship.Hello{Group: src.group, UUID: "another", Source: other.Name, Epoch: 1, Lineage: redoubt.Lineage{{Epoch: 1}}, Head: 3, Journal: "another",
		Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}}}
	say := func() (ship.Welcome, error) {
		w, st, err := s.owner(src.group).store.Sink().Hello(t.Context(), other, h)
		if w.Accepted = st != nil; w.Accepted {
			st.Close()
		}
		return w, err
	}
	_, err = say()
	isErr(t, err, redoubt.ErrExists)
	for _, op := range []catalog.Operation{catalog.OpUnprotect, catalog.OpDeletePoints} {
		_, err := s.nodes[0].store.Operate(t.Context(), src.group, op, "operator/ann", "")
		noErr(t, err)
	}
	s.eventually("the deletion on all nodes", func() bool {
		return s.nodes[0].node.Catalog().Vacant(src.group) == nil
	})
	h.Probe = true
	_, err = say()
	isErr(t, err, redoubt.ErrNotFound) // a probe takes no name
	h.Probe = false
	w, err := say()
	noErr(t, err)
	if w.Redirect != "" { // the new group has an owner of its own
		w, err = say()
		noErr(t, err)
	}
	if !w.Accepted || w.Lost != "" || w.Epoch != 1 || w.Committed.LSN != 0 || w.State != catalog.StateInitialSync.String() {
		t.Errorf("the other host is told %+v", w)
	}
	if head, _, _ := s.owner(src.group).store.Head(src.group); head != h.Head {
		t.Errorf("its journal is said to end at %d, not at %d: that was another group's", head, h.Head)
	}
}
