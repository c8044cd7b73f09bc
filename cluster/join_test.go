package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// newcomer makes a host that shall join, and does not start it.
func (s *site) newcomer(id redoubt.NodeID) *host {
	s.t.Helper()
	h := s.host(id)
	h.listen("127.0.0.1:0")
	for _, n := range s.nodes {
		h.join = append(h.join, n.addr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, h)
	return h
}

func (s *site) state(at *host, id redoubt.NodeID) catalog.NodeState {
	n, ok := at.node.Catalog().Node(id)
	if !ok {
		return catalog.NodeRemoved
	}
	return n.State
}

func (s *site) operate(what string, f func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		s.t.Fatalf("%s: %v (hint: %s)", what, err, redoubt.Hint(err))
	}
}

func (s *site) refusal(want error, f func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	if err := f(ctx); !errors.Is(err, want) || redoubt.Hint(err) == "" {
		s.t.Fatalf("got %v (hint %q), want %v", err, redoubt.Hint(err), want)
	}
}

// insist gives up a dead node, again while the machine is so busy that others
// seem away for a moment.
func (s *site) insist(ctx context.Context, n *Node, id redoubt.NodeID) (err error) {
	s.eventually(func() bool { err = n.Remove(ctx, id, true); return !errors.Is(err, redoubt.ErrState) }, "removal")
	return err
}

// voters is how many votes there are, as h knows.
func (h *host) voters() (n int) {
	for _, m := range h.node.Status().Nodes {
		if m.Voter {
			n++
		}
	}
	return n
}

// A node that comes without an invitation waits; with one it catches up by a
// snapshot, because the log no longer reaches back, gets a vote, and counts.
func TestNodeJoins(t *testing.T) {
	s := newSite(t, 3)
	l := s.leader()
	s.propose(l, createG("g"))
	for range 4 {
		for range 50 {
			s.commitNext(l, "g", 2)
		}
		noErr(t, l.node.Snapshot())
	}
	if first, err := l.node.store.log.FirstIndex(); err != nil || first < 50 {
		t.Fatalf("the leader's log begins at %d, %v: it tells nothing about snapshots", first, err)
	}
	h := s.newcomer("n4")
	h.open()
	s.eventually(func() bool { return strings.Contains(h.log.String(), "waiting to be let in") }, "being told to wait")
	s.operate("invite", func(ctx context.Context) error { return s.follower().node.Invite(ctx, "n4") })
	s.eventually(func() bool { return s.state(l, "n4") == catalog.NodeActive }, "n4 active")
	if v := l.voters(); v != 4 {
		t.Errorf("%d votes", v)
	}
	if n := h.node.Catalog().SegmentCount("g", 1); n != 200 {
		t.Errorf("n4 is active and knows %d of 200 segments", n)
	}
	s.commitNext(h, "g", 3)
	// Its vote counts: with two of four there is no majority, with three there is.
	s.follower().kill()
	s.commitNext(h, "g", 3)
	s.sameEverywhere()

	h.kill() // and it comes back as what it is, without the founders' list
	h.start()
	s.sameEverywhere()
}

// A founder's list does not make a node a member of a cluster that is there.
func TestFoundingTwiceIsRefused(t *testing.T) {
	s := newSite(t, 3)
	h := s.newcomer("n4")
	h.join, h.founders = nil, append(append([]Peer(nil), s.peers...), Peer{ID: "n4", Addr: h.addr})
	_, err := h.tryOpen()
	if !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
		t.Fatalf("got %v", err)
	}
}

// A wiped node is known, and a removed name too: both are refused.
func TestNamesAreUsedOnce(t *testing.T) {
	s := newSite(t, 4)
	f := s.follower()
	l := s.leader()
	f.kill()
	s.eventually(func() bool { return !l.node.Alive(f.id) }, "seen dead")
	s.operate("remove", func(ctx context.Context) error { return s.insist(ctx, l.node, f.id) })
	s.refusal(redoubt.ErrExists, func(ctx context.Context) error { return l.node.Invite(ctx, f.id) })
	s.eventually(func() bool { return l.voters() == 3 }, "its vote gone")
	old := f.dir
	f.dir = t.TempDir()
	f.listen(f.addr)
	if _, err := f.tryOpen(); !errors.Is(err, redoubt.ErrExists) {
		t.Fatalf("a wiped node came back: %v", err)
	}
	f.closePort()
	f.dir = old // and with its folder it ends, and says why
	f.start()
	select {
	case err := <-f.fatal:
		if !errors.Is(err, redoubt.ErrState) || redoubt.Hint(err) == "" {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the removed node goes on")
	}
}

// The leader is removed: another leads, and then it goes.
func TestLeaderIsRemoved(t *testing.T) {
	s := newSite(t, 4)
	s.propose(s.nodes[0], createG("g"))
	l := s.leader()
	s.refusal(redoubt.ErrState, func(ctx context.Context) error { return l.node.Remove(ctx, l.id, true) }) // it is alive
	s.operate("drain", func(ctx context.Context) error { return l.node.Drain(ctx, l.id, false) })
	s.eventually(func() bool { g, _ := l.node.Catalog().Group("g"); return g.Owner != l.id }, "another owner")
	s.operate("remove", func(ctx context.Context) error { return l.node.Remove(ctx, l.id, false) })
	select {
	case <-l.fatal:
	case <-time.After(20 * time.Second):
		t.Fatal("the removed leader goes on")
	}
	l.kill()
	next := s.leader()
	s.eventually(func() bool { return next.voters() == 3 }, "its vote gone")
	s.propose(next, catalog.UpdateGroup{Group: "g", SourceAddr: "x:1"})
	s.sameEverywhere()
}

// What would end in a cluster that cannot agree is refused.
func TestMajorityIsKept(t *testing.T) {
	s := newSite(t, 5)
	l := s.leader()
	var dead, other *host
	for _, h := range s.nodes {
		if h != l && dead == nil {
			dead = h
		} else if h != l {
			other = h
		}
	}
	dead.kill()
	second := s.follower()
	if second == other {
		t.Fatal("the test wants three followers")
	}
	second.kill() // three of five are left
	s.eventually(func() bool { return !l.node.Alive(dead.id) && !l.node.Alive(second.id) }, "seen dead")
	s.refusal(redoubt.ErrState, func(ctx context.Context) error { return l.node.Remove(ctx, other.id, false) })
	s.refusal(redoubt.ErrState, func(ctx context.Context) error { return l.node.Replace(ctx, other.id, l.id) })
	s.operate("remove the dead one", func(ctx context.Context) error { return s.insist(ctx, l.node, dead.id) })
	s.eventually(func() bool { return l.voters() == 4 }, "its vote gone")
}

// A node that comes back under another address tells the others by itself.
func TestNodeMoves(t *testing.T) {
	s := newSite(t, 3)
	s.propose(s.nodes[0], createG("g"))
	for _, h := range []*host{s.follower(), s.leader()} {
		h.kill()
		h.listen("127.0.0.1:0") // another port
		h.founders = nil        // its list is of the time of the founding
		h.join = []string{s.leader().addr}
		h.open()
		s.eventually(func() bool { n, _ := s.leader().node.Catalog().Node(h.id); return n.Addr == h.addr }, "the new address")
		s.eventually(func() bool { return s.leader().node.Alive(h.id) }, "being seen")
		s.sameEverywhere()
	}
	l := s.leader()
	for _, h := range s.nodes { // Raft uses the new addresses, too: any two can go on
		if h != l {
			h.kill()
			break
		}
	}
	s.commitNext(s.leader(), "g", 3)
	s.sameEverywhere()
}

// A cut-off node cannot change the membership, and the others can.
func TestMembershipUnderPartition(t *testing.T) {
	s := newSite(t, 3)
	l := s.leader()
	l.isolate(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := l.node.Invite(ctx, "n8"); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("the cut-off leader invites: %v", err)
	}
	next := s.leader()
	s.operate("invite", func(ctx context.Context) error { return next.node.Invite(ctx, "n4") })
	h := s.newcomer("n4")
	h.open()
	s.eventually(func() bool { return s.state(next, "n4") == catalog.NodeActive }, "n4 active")
	l.isolate(false)
	s.eventually(func() bool { return l.voters() == 4 }, "the old leader knows")
	s.sameEverywhere()
}
