package target

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
)

// greet says hello to the group's owner as the source does, changed by change.
func (s *source) greet(change func(h *ship.Hello)) (ship.Welcome, error) {
	h := s.hello()
	head := s.j.Head()
	h.Probe, h.Epoch, h.Head, h.Tail, h.Journal = true, head.Epoch, head.LSN, s.j.Tail(), s.j.ID()
	change(&h)
	w, _, err := s.site.owner(s.group).store.Sink().Hello(s.site.t.Context(), pki.Identity{Role: pki.RoleSource, Name: h.Source}, h)
	return w, err
}

// A source that comes with another journal, an old copy or without its state is
// told so and nobody else is; the resynchronisation begins an epoch that it may
// compare with what is stored, though that is no point.
func TestLostJournalIsFoundOut(t *testing.T) {
	s := newSite(t, 3)
	src := newSource(t, s, seeded.Rand(t))
	stop := src.run()
	src.copyAll()
	src.write(100)
	src.shipped()
	noErr(t, stopped(stop()))
	known := s.owner(src.group).node.Catalog()
	if w, err := src.greet(func(*ship.Hello) {}); err != nil || w.Lost != "" || w.Fenced {
		t.Fatalf("the source itself: %+v, %v", w, err)
	}
	if b := known.Binding(src.group); b.Journal != src.j.ID() {
		t.Fatalf("bound to %q, the journal is %q", b.Journal, src.j.ID())
	}
	if _, err := src.greet(func(h *ship.Hello) { h.UUID, h.Disks = "another", h.Disks[:1] }); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("another set of disks: %v", err)
	}
	if _, err := src.greet(func(h *ship.Hello) { h.UUID, h.Source = "another", "host2" }); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("another host: %v", err)
	}
	if g, _ := known.Group(src.group); g.State != catalog.StateProtected {
		t.Fatalf("the group is %s", g.State)
	}
	w, err := src.greet(func(h *ship.Hello) { h.Journal = "new"; h.Head += 1000 })
	g, _ := known.Group(src.group)
	if err != nil || w.Lost == "" || g.State != catalog.StateResyncRequired {
		t.Fatalf("another journal: %+v, %v, %s", w, err, g.State)
	}
	w2, err := src.greet(func(*ship.Hello) {}) // also the right one, from now on: what it has does not count
	if err != nil || w2.Lost != w.Lost {
		t.Errorf("later: %+v, %v", w2, err)
	}

	at := g.Committed
	g, err = s.nodes[1].store.Resync(t.Context(), src.group)
	noErr(t, err)
	w, err = src.greet(func(h *ship.Hello) { h.UUID = "another" })
	if err != nil || w.Lost != "" || w.Compare != at || w.UUID != g.UUID || w.Epoch != 2 || w.Fenced {
		t.Errorf("after the beginning: %+v, %v", w, err)
	}
	me := pki.Identity{Role: pki.RoleSource, Name: g.Source}
	images := s.nodes[2].store.Comparisons()
	im, err := images.OpenImage(t.Context(), me, compare.Ask{Group: g.ID, UUID: g.UUID, Torn: true})
	noErr(t, err)
	if im.Position() != (redoubt.Position{Epoch: 2, LSN: at.LSN}) {
		t.Errorf("opened %s", im.Position())
	}
	noErr(t, im.Close())
	for who, id := range map[string]pki.Identity{"another source": {Role: pki.RoleSource, Name: "host2"}, "an operator": {Role: pki.RoleOperator, Name: g.Source}} {
		if _, err := images.OpenImage(t.Context(), id, compare.Ask{Group: g.ID, UUID: g.UUID}); !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// An old copy of the right journal is found out by its end, and one that is cut
// off at the beginning by that.
func TestOldJournalIsFoundOut(t *testing.T) {
	for name, change := range map[string]func(h *ship.Hello){
		"old copy": func(h *ship.Hello) { h.Head -= 10 },
		"cut":      func(h *ship.Hello) { h.Tail, h.Head = h.Head+10, h.Head+20 },
	} {
		s := newSite(t, 3)
		src := newSource(t, s, seeded.Rand(t))
		stop := src.run()
		src.copyAll()
		src.write(50)
		src.shipped()
		noErr(t, stopped(stop()))
		if w, err := src.greet(change); err != nil || w.Lost == "" {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

// Before anything is stored there is content to compare with, too: zeros.
func TestNothingStoredIsZeros(t *testing.T) {
	s := newSite(t, 3)
	src := newSource(t, s, seeded.Rand(t))
	_, err := s.nodes[0].node.Propose(t.Context(), catalog.CreateGroup{ID: src.group, UUID: "u", Source: "host1", SourceAddr: "h:1", Disks: src.hello().Disks, K: 2, M: 1})
	noErr(t, err)
	im, err := s.nodes[0].store.Comparisons().OpenImage(t.Context(), pki.Identity{Role: pki.RoleSource, Name: "host1"}, compare.Ask{Group: src.group, UUID: "u", Torn: true})
	noErr(t, err)
	for _, d := range im.Disks() {
		if e, ok, err := im.NextData(d.ID, 0); ok || err != nil {
			t.Errorf("disk %s has %s, %v", d.Name, e, err)
		}
	}
	noErr(t, im.Close())
}
