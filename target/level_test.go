package target

import (
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// A node that comes late takes its part of the history that was there, under
// load, and every point stays right, also without any one node.
func TestHistoryIsLevelled(t *testing.T) {
	rng := seeded.Rand(t)
	s := openSite(&site{t: t, logFile: 4 << 20, silent: time.Second, cache: 4 << 20, level: 64 << 10}, 3)
	src := newSource(t, s, rng)
	src.maxDelta = 4 << 10 // many segments
	stop := src.run()
	src.copyAll()
	for range 60 {
		src.write(20)
	}
	src.snap()
	src.shipped()
	s.whole(src.group)
	old := s.up().node.Catalog().Redundancy(src.group).Segments

	s.add("n4")
	quiet := src.working()
	s.eventually("a part of the old segments on the new node", func() bool { return s.oldOn("n4", src, old) >= old/5 })
	quiet()
	src.shipped()
	s.eventually("nothing on its way", func() bool {
		going := uint64(0)
		for _, m := range s.up().node.Catalog().Members() {
			going += m.Going
		}
		return going == 0
	})
	s.whole(src.group)
	for _, h := range s.nodes {
		s.eventually("its log tidy", func() bool { return h.strays() == 0 })
	}
	noErr(t, stopped(stop()))
	for _, h := range s.nodes {
		h.stop()
		src.checkAll(1)
		h.start()
		s.eventually("the node is back", func() bool {
			_, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: src.j.Head().LSN})
			return err == nil
		})
		s.whole(src.group)
	}
}

// oldOn counts which of the group's first segments have a shard on the node.
func (s *site) oldOn(id redoubt.NodeID, src *source, first uint64) (n uint64) {
	for _, sg := range s.up().node.Catalog().Segments(src.group, 1, 0, int(first)) {
		if slices.Contains(sg.Nodes, id) {
			n++
		}
	}
	return n
}
