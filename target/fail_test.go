package target

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// A node whose shard log has failed is known to all, gets nothing as long as
// enough others take shards, and is used again after a restart with a good disk.
func TestFailedLog(t *testing.T) {
	rng := seeded(t)
	faults := map[redoubt.NodeID]*vfs.Fault{}
	s := newSiteWith(t, 4, func(o *Options) {
		f := vfs.NewFault(vfs.OS, 0, syscall.EIO)
		f.StayDown()
		faults[o.Node.ID()] = f
		o.FS = f
	})
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
