package target

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// add invites a node, starts it and waits until it is active.
func (s *site) add(id redoubt.NodeID) *host {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	noErr(s.t, s.up().node.Invite(ctx, id))
	h := s.host(id)
	h.join = []string{s.up().addr}
	h.open()
	s.eventually(string(id)+" active", func() bool { return s.member(id).State == catalog.NodeActive })
	return h
}

// up is some node that runs.
func (s *site) up() *host {
	s.t.Helper()
	for _, h := range s.nodes {
		if h.store != nil {
			return h
		}
	}
	s.t.Fatal("no node is up")
	return nil
}

func (s *site) member(id redoubt.NodeID) catalog.Member {
	for _, m := range s.up().node.Catalog().Members() { // the first that runs: its catalog may lag
		if m.ID == id {
			return m
		}
	}
	return catalog.Member{NodeInfo: catalog.NodeInfo{State: catalog.NodeRemoved}}
}

// strays counts the shards in the node's log that have a home elsewhere.
func (h *host) strays() (n int) {
	h.store.log.Each(func(i segment.Info) bool {
		ref := catalog.ShardRef{Group: i.ID.Group, Epoch: i.ID.Epoch, Ordinal: i.ID.Ordinal, Shard: i.ID.Shard}
		if holds, known := h.node.Catalog().Holds(h.id, ref, i.ID.CRC); known && !holds {
			n++
		}
		return true
	})
	return n
}

// gone waits until no node lists this one any more: it has no vote and nothing else.
func (s *site) gone(id redoubt.NodeID) {
	s.t.Helper()
	s.eventually(string(id)+" gone", func() bool {
		for _, h := range s.nodes {
			if h.store == nil || h.id == id {
				continue
			}
			for _, n := range h.node.Status().Nodes {
				if n.ID == id {
					return false
				}
			}
		}
		return true
	})
}

// working writes until the function that it returns is called, and takes
// snapshots of the model on the way.
func (s *source) working() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(10 * time.Millisecond): // a load, not a burst
			}
			s.write(10)
			s.snap()
		}
	})
	return sync.OnceFunc(func() { close(quit); wg.Wait() })
}

// rebuilt waits until nothing lies on the node and every segment is whole.
func (s *site) rebuilt(id redoubt.NodeID, g redoubt.GroupID) {
	s.t.Helper()
	s.eventually("nothing left on "+string(id), func() bool { return s.member(id).Held.Shards == 0 })
	s.whole(g)
}

// Nodes come and go while the source writes: each point is right on each node
// throughout, nothing that drains makes a segment less safe, and in the end no first node is left.
func TestNodesComeAndGo(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.write(200)
	src.shipped()
	quiet := src.working()
	defer quiet()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	err := s.up().node.Drain(ctx, "n2", false)
	isErr(t, err, redoubt.ErrState) // 2+1 needs three
	if redoubt.Hint(err) == "" {
		t.Error("no hint")
	}
	s.add("n4")
	s.eventually("shards on the new node", func() bool { return s.member("n4").Held.Shards > 5 })

	// The owner drains under load; no segment may lose a shard by that.
	owner := s.owner(src.group)
	isErr(t, owner.node.Remove(ctx, owner.id, false), redoubt.ErrState) // it has shards
	isErr(t, owner.node.Remove(ctx, owner.id, true), redoubt.ErrState)  // it is alive
	s.whole(src.group)
	noErr(t, owner.node.Drain(ctx, owner.id, false))
	s.eventually("drained", func() bool {
		if r := s.up().node.Catalog().Redundancy(src.group); r.Degraded > 0 {
			t.Errorf("%d of %d segments lack a shard while a live node drains", r.Degraded, r.Segments)
			return true
		}
		m := s.member(owner.id)
		return m.Held.Shards == 0 && len(m.Holds) == 0
	})
	s.eventually("its log has let go of what moved", func() bool { return owner.strays() == 0 })
	quiet()
	src.shipped()
	src.checkAll(1)
	noErr(t, owner.node.Remove(ctx, owner.id, false))
	s.gone(owner.id)
	owner.stop()

	// A node dies for good and a new one takes its place.
	var dead *host
	for _, h := range s.nodes {
		if h.store != nil && h.id != "n4" {
			dead = h
			break
		}
	}
	dead.stop()
	quiet = src.working()
	s.add("n5")
	noErr(t, s.up().node.Replace(ctx, dead.id, "n5"))
	s.rebuilt(dead.id, src.group)
	s.gone(dead.id)
	quiet()
	src.shipped()
	src.checkAll(1)
	for _, h := range s.nodes { // now any one may be away
		if h.store == nil {
			continue
		}
		s.whole(src.group)
		h.stop()
		src.checkAll(1)
		h.start()
		s.eventually("the node is back", func() bool {
			_, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: src.j.Head().LSN})
			return err == nil
		})
	}
	noErr(t, stopped(stop()))
}

// A drain is called off half-way: what has moved is deleted here, what has not
// stays, and everything is as safe as before.
func TestDrainCalledOff(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 4)
	src := newSource(t, s, rng)
	src.maxDelta = 4 << 10 // many segments
	stop := src.run()
	src.copyAll()
	for range 40 {
		src.write(20)
	}
	src.snap()
	src.shipped()
	noErr(t, stopped(stop()))
	s.whole(src.group)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	h := s.nodes[0]
	had := s.member(h.id).Held.Shards
	noErr(t, h.node.Drain(ctx, h.id, false))
	s.eventually("a first move", func() bool { return s.member(h.id).Held.Shards < had })
	noErr(t, h.node.Drain(ctx, h.id, true))
	s.eventually("an end of the moves", func() bool { m := s.member(h.id); return m.Going == 0 && m.State == catalog.NodeActive })
	left := s.member(h.id).Held.Shards
	t.Logf("%d of %d shards have stayed", left, had)
	if left == 0 {
		t.Skip("the machine drained it before it could be called off")
	}
	s.eventually("its log tidy", func() bool { return h.strays() == 0 })
	s.whole(src.group)
	if n := h.store.Stats().Log.Shards; uint64(n) < left {
		t.Errorf("%d shards are in the log, %d belong there", n, left)
	}
	s.nodes[1].stop()
	src.checkAll(1)
}

// A dead node is given up: the others take over what it had.
func TestDeadNodeGivenUp(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.write(100)
	src.snap()
	src.shipped()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.nodes[1].stop()
	s.eventually("seen dead", func() bool { return !s.nodes[0].node.Alive("n2") })
	isErr(t, s.nodes[0].node.Remove(ctx, "n2", true), redoubt.ErrState) // 2+1 on two nodes
	s.add("n4")
	src.write(100)
	src.snap()
	src.shipped()
	noErr(t, s.nodes[0].node.Remove(ctx, "n2", true))
	s.rebuilt("n2", src.group)
	src.checkAll(1)
	s.nodes[2].stop() // and another
	src.checkAll(1)
	s.nodes[2].start()
	noErr(t, stopped(stop()))
}
