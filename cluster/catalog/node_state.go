package catalog

import (
	"strconv"

	"github.com/redoubt-dr/redoubt"
)

// NodeState is where a node is in its life as a member. The numbers are part
// of the stored formats and never change.
type NodeState uint8

// The states of a node.
const (
	NodeActive   NodeState = 0 // holds shards and owns groups
	NodeInvited  NodeState = 1 // named by an operator, has not come yet; no address
	NodeJoining  NodeState = 2 // has come, its catalog catches up
	NodeDraining NodeState = 3 // gets nothing new; what it has moves to others
	NodeRemoved  NodeState = 4 // no member any more; kept so that its ID is never used again
)

// String returns the state's name as operators see it.
func (s NodeState) String() string {
	switch s {
	case NodeActive:
		return "active"
	case NodeInvited:
		return "invited"
	case NodeJoining:
		return "joining"
	case NodeDraining:
		return "draining"
	case NodeRemoved:
		return "removed"
	}
	return "state-" + strconv.Itoa(int(s))
}

// MarshalText writes the name, for JSON.
func (s NodeState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Member reports whether the node takes part: it has come and was not removed.
func (s NodeState) Member() bool { return s != NodeInvited && s != NodeRemoved }

// leaving reports whether the node's shards need another home.
func (s NodeState) leaving() bool { return s == NodeDraining || s == NodeRemoved }

// setNode puts a changed node and notes when its state changed.
func (s *state) setNode(n NodeInfo) {
	if old, ok := s.nodes[n.ID]; ok && old.State != n.State {
		n.Changed = s.index
	}
	s.nodes[n.ID] = n
}

// inState counts the nodes of a state, leaving one out.
func (s *state) inState(st NodeState, without redoubt.NodeID) (n int) {
	for id, node := range s.nodes {
		if node.State == st && id != without {
			n++
		}
	}
	return n
}

// widest returns the largest number of nodes that a group's segments need, and
// the group; 0 without groups.
func (s *state) widest() (n int, id redoubt.GroupID) {
	for k, g := range s.groups {
		if w := g.K + g.M; w > n || w == n && k < id {
			n, id = w, k
		}
	}
	return n, id
}
