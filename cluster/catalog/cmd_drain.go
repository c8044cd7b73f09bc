package catalog

import (
	"fmt"
	"maps"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// DrainNode has the node's shards and groups move to others, or, with Cancel,
// lets it stay. With Successor all shards go there; with Leave the leader
// removes the node when it has nothing left. Result: nil. ErrState if too few
// nodes would be left for the groups' shards.
type DrainNode struct {
	ID        redoubt.NodeID
	Successor redoubt.NodeID // "": spread
	Leave     bool
	Cancel    bool
}

func (c DrainNode) kind() kind { return kindDrainNode }

func (c DrainNode) encode(e *encoder) {
	e.str(string(c.ID))
	e.str(string(c.Successor))
	e.bool(c.Leave)
	e.bool(c.Cancel)
}

func (c DrainNode) check() error {
	if c.Cancel && (c.Leave || c.Successor != "") {
		return invalid("drain node", string(c.ID), "cancel and a successor at once")
	}
	if c.Successor == c.ID {
		return fail("replace node", string(c.ID), fmt.Errorf("by itself: %w", redoubt.ErrInvalid), "name another node, such as one that was just added: redoubt node add NAME")
	}
	if c.Successor != "" {
		if err := redoubt.ValidName("node", string(c.Successor)); err != nil {
			return err
		}
	}
	return redoubt.ValidName("node", string(c.ID))
}

func (c DrainNode) apply(s *state) (any, error) {
	const op = "drain node"
	n, err := s.node(op, c.ID)
	if err != nil {
		return nil, err
	}
	if n.State != NodeDraining && (n.State != NodeActive || c.Cancel) {
		return nil, fail(op, string(c.ID), fmt.Errorf("it is %s: %w", n.State, redoubt.ErrState), "")
	}
	if c.Cancel {
		n.State, n.Successor, n.Leave = NodeActive, "", false
		s.setNode(n)
		return nil, nil
	}
	if err := s.enoughWithout(op, c.ID); err != nil {
		return nil, err
	}
	if c.Successor != "" {
		to, err := s.node("replace node", c.Successor)
		if err != nil {
			return nil, err
		}
		if to.State != NodeActive {
			return nil, fail("replace node", string(c.ID), fmt.Errorf("%s is %s: %w", c.Successor, to.State, redoubt.ErrState),
				"the new node must be active: redoubt node list")
		}
	}
	n.State, n.Successor, n.Leave = NodeDraining, c.Successor, c.Leave
	s.setNode(n)
	return nil, nil
}

// enoughWithout refuses to do without a node that the groups' shards need.
func (s *state) enoughWithout(op string, id redoubt.NodeID) error {
	left := s.inState(NodeActive, id)
	need, group := s.widest()
	if left >= max(need, 1) {
		return nil
	}
	why := fmt.Errorf("%d active nodes would be left, group %s needs %d: %w", left, group, need, redoubt.ErrState)
	if need == 0 {
		why = fmt.Errorf("it is the last active node: %w", redoubt.ErrState)
	}
	return fail(op, string(id), why, "add a node first: redoubt node add NAME")
}

// RemoveNode takes a node out of the cluster for good. Without Force it must
// have nothing left (DrainNode). With Force it is given up with what it holds,
// if the others can rebuild that; their shards move on as if it were drained.
// An invitation is taken back. Result: nil; removing twice is the same as
// once. ErrState if the node still has something, or too few nodes would be left.
type RemoveNode struct {
	ID    redoubt.NodeID
	Force bool
}

func (c RemoveNode) kind() kind { return kindRemoveNode }

func (c RemoveNode) encode(e *encoder) {
	e.str(string(c.ID))
	e.bool(c.Force)
}

func (c RemoveNode) check() error { return redoubt.ValidName("node", string(c.ID)) }

func (c RemoveNode) apply(s *state) (any, error) {
	const op = "remove node"
	n, err := s.node(op, c.ID)
	if err != nil {
		return nil, err
	}
	switch n.State {
	case NodeRemoved:
		return nil, nil
	case NodeInvited:
		delete(s.nodes, c.ID)
		return nil, nil
	case NodeActive, NodeDraining:
		if err := s.mayGo(op, c); err != nil {
			return nil, err
		}
	}
	s.forgetShards(c.ID)
	maps.DeleteFunc(s.moves, func(_ shardKey, to redoubt.NodeID) bool { return to == c.ID })
	n.State, n.Successor, n.Leave = NodeRemoved, "", false
	s.setNode(n)
	return nil, nil
}

func (s *state) mayGo(op string, c RemoveNode) error {
	if err := s.enoughWithout(op, c.ID); err != nil {
		return err
	}
	if c.Force {
		if lost := s.lostWithout(c.ID, func(redoubt.NodeID) bool { return true }); lost > 0 {
			return fail(op, string(c.ID), fmt.Errorf("%d segments could not be rebuilt without it: %w", lost, redoubt.ErrState),
				"bring the node back, or wait until the other nodes have repaired what they lack")
		}
		return nil
	}
	if has := s.holds(c.ID); len(has) > 0 {
		return fail(op, string(c.ID), fmt.Errorf("it has %s: %w", strings.Join(has, ", "), redoubt.ErrState),
			"redoubt node drain "+string(c.ID)+"; a dead node is replaced (node replace) or given up (node remove --force)")
	}
	return nil
}

// holds says what keeps a node from being removed.
func (s *state) holds(id redoubt.NodeID) (out []string) {
	if n := s.heldBy(id).Shards; n > 0 {
		out = append(out, fmt.Sprintf("%d shards", n))
	}
	own := 0
	for _, g := range s.groups {
		if g.Owner == id {
			own++
		}
	}
	if own > 0 {
		out = append(out, fmt.Sprintf("the stream of %d groups", own))
	}
	for _, gid := range s.groupIDs() {
		if s.groups[gid].Writer == TargetWriter(id) {
			out = append(out, "the production disks of group "+string(gid))
		}
	}
	return out
}

// lostWithout counts the segments that have fewer than k durable shards on
// live nodes other than id.
func (s *state) lostWithout(id redoubt.NodeID, live func(redoubt.NodeID) bool) (lost uint64) {
	s.each(func(n redoubt.NodeID) bool { return n == id }, func(_ epochKey, h *history, i uint64) bool {
		r := h.at(i)
		p := &s.places.list[r.place]
		have := 0
		for shard, n := range p.nodes {
			if r.stored&(1<<shard) != 0 && n != id && live(n) {
				have++
			}
		}
		if have < int(p.k) {
			lost++
		}
		return true
	})
	return lost
}

// forgetShards notes that nothing of what the node held is stored any more.
func (s *state) forgetShards(id redoubt.NodeID) {
	s.each(func(n redoubt.NodeID) bool { return n == id }, func(_ epochKey, h *history, i uint64) bool {
		for shard, n := range s.places.list[h.at(i).place].nodes {
			if n == id {
				s.edit(h, i, func(r *record) { r.stored &^= 1 << shard })
			}
		}
		return true
	})
}
