package target

import (
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/ship"
)

// Who may open a stream where: every answer that a Hello can get.
func TestHello(t *testing.T) {
	s := newSite(t, 3)
	web1 := pki.Identity{Role: pki.RoleSource, Name: "web1"}
	hello := func(change func(*ship.Hello)) ship.Hello {
		h := ship.Hello{Group: "shop", UUID: "u1", Source: "web1", Epoch: 1, Lineage: redoubt.Lineage{{Epoch: 1}}, Head: 7,
			Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}}}
		if change != nil {
			change(&h)
		}
		return h
	}
	say := func(h *host, who pki.Identity, m ship.Hello) (ship.Welcome, error) {
		w, st, err := h.store.Sink().Hello(t.Context(), who, m)
		if st != nil {
			noErr(t, st.Begin(w.Committed.LSN+1))
			isErr(t, st.Begin(w.Committed.LSN+2), redoubt.ErrGap)
			st.Close()
		}
		w.Accepted = st != nil
		return w, err
	}
	_, err := say(s.nodes[1], web1, hello(func(h *ship.Hello) { h.Probe = true }))
	isErr(t, err, redoubt.ErrNotFound)
	_, err = say(s.nodes[1], pki.Identity{Role: pki.RoleSource, Name: "web2"}, hello(nil))
	isErr(t, err, redoubt.ErrNotFound) // a foreign host creates no group in another's name
	_, err = say(s.nodes[1], pki.Identity{Role: pki.RoleOperator, Name: "eve"}, hello(nil))
	isErr(t, err, redoubt.ErrDenied)
	_, err = say(s.nodes[1], web1, hello(func(h *ship.Hello) { h.Reverse = true }))
	isErr(t, err, redoubt.ErrInvalid)
	_, err = say(s.nodes[1], web1, hello(func(h *ship.Hello) { h.Group = "../etc" }))
	isErr(t, err, redoubt.ErrInvalid)

	_, err = say(s.nodes[1], web1, hello(nil)) // creates the group
	noErr(t, err)
	o := s.owner("shop")
	for _, h := range s.nodes {
		w, err := say(h, web1, hello(nil))
		noErr(t, err)
		if h == o && !w.Accepted || h != o && w.Redirect != o.addr {
			t.Errorf("%s answers %+v, the owner is %s", h.id, w, o.id)
		}
	}
	w, err := say(o, web1, hello(func(h *ship.Hello) { h.Probe = true }))
	noErr(t, err)
	if w.Accepted || w.Fenced || w.Epoch != 1 || w.Writer != "source/web1" || w.State != catalog.StateInitialSync.String() {
		t.Errorf("probe: %+v", w)
	}
	_, err = say(o, web1, hello(func(h *ship.Hello) { h.UUID, h.Disks = "u2", []redoubt.Disk{{ID: 1, Name: "root", Size: 2 << 20}} }))
	isErr(t, err, redoubt.ErrExists) // with the group's own disks it would be its source without its state: TestLostIdentity
	_, err = say(o, web1, hello(func(h *ship.Hello) { h.Disks = []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 19}} }))
	isErr(t, err, redoubt.ErrInvalid) // disks grow only
	_, err = say(o, web1, hello(func(h *ship.Hello) { h.Epoch = 2 }))
	isErr(t, err, redoubt.ErrState)
	for _, who := range []pki.Identity{{Role: pki.RoleSource, Name: "web2"}, {Role: pki.RoleTarget, Name: "n1"}} {
		w, err := say(o, who, hello(nil))
		noErr(t, err)
		if !w.Fenced || w.Accepted {
			t.Errorf("%s gets %+v", who, w)
		}
	}
	_, err = say(o, web1, hello(func(h *ship.Hello) { h.Advertise = "web1.example:7100" }))
	noErr(t, err)
	if g, _ := o.node.Catalog().Group("shop"); g.SourceAddr != "web1.example:7100" {
		t.Errorf("the source listens at %q", g.SourceAddr)
	}
}

// A second stream of the same group takes the place of the first.
func TestStreamReplaced(t *testing.T) {
	s := newSite(t, 3)
	src := newSource(t, s, seeded.Rand(t))
	stop := src.run()
	src.copyAll()
	src.shipped()
	o := s.owner(src.group)
	h := src.hello()
	h.Epoch, h.Head, h.Tail, h.Journal = 1, src.j.Head().LSN, src.j.Tail(), src.j.ID()
	w, st, err := o.store.Sink().Hello(t.Context(), pki.Identity{Role: pki.RoleSource, Name: src.name}, h)
	noErr(t, err)
	if w.Committed.LSN != src.j.Head().LSN {
		t.Errorf("committed %s, shipped %s", w.Committed, src.j.Head())
	}
	src.write(50) // the sender is cut off, comes back and takes over in its turn
	src.shipped()
	select {
	case err := <-st.(*stream).Broken():
		isErr(t, err, redoubt.ErrClosed)
	case <-time.After(20 * time.Second):
		t.Fatal("the replaced stream is not told")
	}
	st.Close()
	noErr(t, stopped(stop()))
}
