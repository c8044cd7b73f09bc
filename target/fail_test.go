package target

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// newFaultySite is newSiteWith, with disks that fail for good at the operation that
// faults is told.
func newFaultySite(t *testing.T, n int, more func(*Options)) (s *site, faults map[redoubt.NodeID]*vfs.Fault) {
	faults = map[redoubt.NodeID]*vfs.Fault{}
	s = newSiteWith(t, n, func(o *Options) {
		f := vfs.NewFault(vfs.OS, 0, syscall.EIO)
		f.StayDown()
		faults[o.Node.ID()] = f
		o.FS = f
		more(o)
	})
	return s, faults
}

// A node whose shard log has failed is known to all, gets nothing as long as
// enough others take shards, and is used again after a restart with a good disk.
func TestFailedLog(t *testing.T) {
	rng := seeded.Rand(t)
	s, faults := newFaultySite(t, 4, func(*Options) {})
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	s.whole(src.group)

	owner := s.owner(src.group)
	bad := s.nodes[(slices.Index(s.nodes, owner)+1)%len(s.nodes)]
	faults[bad.id].FailAt(faults[bad.id].Count() + 1)
	s.eventually("the log fails", func() bool {
		src.write(20)
		src.shipped()
		return bad.store.log.Err() != nil
	})
	s.eventually("every node knows", func() bool {
		for _, h := range s.nodes {
			if !strings.Contains(h.store.Failed(bad.id), "input/output error") {
				return false
			}
		}
		return true
	})
	for _, h := range s.nodes {
		if h != bad && h.store.Failed(h.id) != "" {
			t.Errorf("%s: %s", h.id, h.store.Failed(h.id))
		}
		if len(h.store.Stats().Down) > 0 {
			t.Errorf("%s takes a node for dead: %v", h.id, h.store.Stats().Down)
		}
	}

	// Nothing more goes there, and what is new is whole without it.
	g, _ := owner.node.Catalog().Group(src.group)
	before := owner.node.Catalog().Redundancy(src.group)
	from := uint64(before.Segments)
	for range 5 {
		src.write(60)
		src.snap()
		src.shipped()
	}
	segs := owner.node.Catalog().Segments(src.group, g.Epoch, from, 1000)
	if len(segs) == 0 {
		t.Fatal("no new segments")
	}
	for _, sg := range segs {
		if slices.Contains(sg.Nodes, bad.id) || ones(sg.Stored) != len(sg.Nodes) {
			t.Errorf("segment %d on %v, stored %b, while %s takes nothing", sg.Ordinal, sg.Nodes, sg.Stored, bad.id)
		}
	}
	src.checkAll(1) // what the node has is read

	// It comes back by itself.
	faults[bad.id].FailAt(0)
	bad.stop()
	bad.start()
	s.eventually("every node uses it again", func() bool {
		for _, h := range s.nodes {
			if h.store.Failed(bad.id) != "" || !h.store.peers.Up(bad.id) {
				return false
			}
		}
		return true
	})
	s.whole(src.group)
	s.eventually("it gets shards", func() bool {
		src.write(20)
		src.shipped()
		segs := owner.node.Catalog().Segments(src.group, g.Epoch, from+uint64(len(segs)), 1000)
		return len(segs) > 0 && slices.ContainsFunc(segs[len(segs)-1].Nodes, func(n redoubt.NodeID) bool { return n == bad.id })
	})
	noErr(t, stopped(stop()))
	s.whole(src.group)
	src.checkAll(1)
}

// A node whose shard log has failed hands the groups that it owns to others, and
// the sender follows: ingest goes on without it, and no delta waits for it. After
// a restart it gets groups again.
func TestFailedOwner(t *testing.T) {
	rng := seeded.Rand(t)
	s, faults := newFaultySite(t, 3, func(o *Options) {
		o.PutTimeout = 3 * time.Second // what a delta costs that waits for a node
	})
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	s.whole(src.group)
	batch := func() time.Duration {
		begun := time.Now()
		for range 10 {
			src.write(20)
			src.snap()
			src.shipped()
		}
		return time.Since(begun)
	}
	before := batch()

	bad := s.owner(src.group)
	was, _ := bad.node.Catalog().Group(src.group)
	faults[bad.id].FailAt(faults[bad.id].Count() + 1)
	s.eventually("the log fails", func() bool {
		src.write(20)
		src.shipped()
		return bad.store.log.Err() != nil
	})
	var now catalog.Group
	s.eventually("another node owns the group, everywhere", func() bool {
		for _, h := range s.nodes {
			if now, _ = h.node.Catalog().Group(src.group); now.Owner == bad.id {
				return false
			}
		}
		return true
	})
	if now.OwnerTerm <= was.OwnerTerm || now.Epoch != was.Epoch {
		t.Errorf("owner term %d after %d, epoch %d after %d", now.OwnerTerm, was.OwnerTerm, now.Epoch, was.Epoch)
	}
	owner := s.owner(src.group)
	src.write(20)
	src.shipped()
	s.eventually("the sender follows", func() bool {
		owner.store.mu.Lock()
		defer owner.store.mu.Unlock()
		return owner.store.streams[src.group] != nil
	})
	connects := src.send.Status().Connects
	if after := batch(); after > 5*before+owner.store.o.PutTimeout {
		t.Errorf("ten batches took %s without the node, %s with it", after, before)
	}
	if n := src.send.Status().Connects; n != connects {
		t.Errorf("the sender connected %d times more", n-connects)
	}
	if again, _ := owner.node.Catalog().Group(src.group); again.OwnerTerm != now.OwnerTerm {
		t.Errorf("owner term %d, then %d: the group wanders", now.OwnerTerm, again.OwnerTerm)
	}
	src.checkAll(1)

	// New groups do not stay there; after its restart it gets some.
	const groups = 4
	for i := range groups - 1 {
		_, err := owner.node.Propose(t.Context(), catalog.CreateGroup{ID: redoubt.GroupID(fmt.Sprint("more", i)), UUID: fmt.Sprint("more", i), Source: "web2",
			Disks: src.disks, K: 2, M: 1, Now: 1})
		noErr(t, err)
	}
	owned := func(h *host) (n int) {
		for _, g := range owner.node.Catalog().Groups() {
			if g.Owner == h.id {
				n++
			}
		}
		return n
	}
	s.eventually("the new groups are with the others, evenly", func() bool {
		return !slices.ContainsFunc(s.nodes, func(h *host) bool { return owned(h) != groups/2 && h != bad }) && owned(bad) == 0
	})
	faults[bad.id].FailAt(0)
	bad.stop()
	bad.start()
	s.eventually("it owns groups again", func() bool { return owned(bad) > 0 })
	s.whole(src.group)
	src.write(20)
	src.shipped()
	noErr(t, stopped(stop()))
	src.checkAll(1)
}
