package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// InviteNode lets a node with this ID join. Result: nil; inviting twice is the
// same as once. ErrExists if the ID is, or was, that of a member.
type InviteNode struct{ ID redoubt.NodeID }

func (c InviteNode) kind() kind        { return kindInviteNode }
func (c InviteNode) encode(e *encoder) { e.str(string(c.ID)) }
func (c InviteNode) check() error      { return redoubt.ValidName("node", string(c.ID)) }

func (c InviteNode) apply(s *state) (any, error) {
	const op = "add node"
	old, known := s.nodes[c.ID]
	switch {
	case known && old.State == NodeInvited:
		return nil, nil
	case known && old.State == NodeRemoved:
		return nil, fail(op, string(c.ID), fmt.Errorf("a node of this name was removed: %w", redoubt.ErrExists),
			"names are never used again: give the new node another one")
	case known:
		return nil, fail(op, string(c.ID), fmt.Errorf("it is a member (%s): %w", old.State, redoubt.ErrExists), "redoubt node list shows the members")
	case len(s.nodes) >= maxNodes:
		return nil, invalid(op, string(c.ID), "too many nodes")
	}
	s.setNode(NodeInfo{ID: c.ID, State: NodeInvited, Changed: s.index})
	return nil, nil
}

// AnnounceNode tells where an invited node or a member is now, and in which
// failure domain; of Node it takes ID, Addr and Instance. Result: nil.
// ErrNotFound if the node was not invited, ErrExists if the ID belongs to
// another instance, ErrState if it was removed.
type AnnounceNode struct {
	Node   NodeInfo
	Domain string
}

func (c AnnounceNode) kind() kind { return kindAnnounceNode }

func (c AnnounceNode) encode(e *encoder) {
	e.node(c.Node)
	e.str(c.Domain)
}

func (c AnnounceNode) check() error {
	if c.Domain != "" {
		if err := redoubt.ValidName("domain", c.Domain); err != nil {
			return err
		}
	}
	return PutNode{Node: c.Node}.check()
}

func (c AnnounceNode) apply(s *state) (any, error) {
	old, known := s.nodes[c.Node.ID]
	if !known {
		return nil, fail("register node", string(c.Node.ID), fmt.Errorf("it was not invited: %w", redoubt.ErrNotFound),
			"at a member: redoubt node add "+string(c.Node.ID))
	}
	n := old
	if old.State == NodeInvited {
		n.State, n.Instance = NodeJoining, c.Node.Instance
		s.setNode(n)
	}
	if _, err := (PutNode{Node: c.Node}).apply(s); err != nil {
		return nil, err
	}
	n = s.nodes[c.Node.ID]
	n.Domain = c.Domain
	s.setNode(n)
	return nil, nil
}

// EncodeAnnounce returns the command alone, as a node sends it that no leader
// talks to.
func EncodeAnnounce(c AnnounceNode) []byte {
	var e encoder
	c.encode(&e)
	return e.b
}

// DecodeAnnounce reads what EncodeAnnounce wrote. Damage is ErrCorrupt.
func DecodeAnnounce(b []byte) (AnnounceNode, error) {
	d := &decoder{b: b}
	c := decodeAnnounce(d)
	return c, d.done()
}

func decodeAnnounce(d *decoder) AnnounceNode {
	return AnnounceNode{Node: d.node(), Domain: d.str(maxName, "domain")}
}

// ActivateNode makes a joining node a full member: it gets shards and groups
// from now on. Result: nil. ErrState if it is neither joining nor active.
type ActivateNode struct{ ID redoubt.NodeID }

func (c ActivateNode) kind() kind        { return kindActivateNode }
func (c ActivateNode) encode(e *encoder) { e.str(string(c.ID)) }
func (c ActivateNode) check() error      { return redoubt.ValidName("node", string(c.ID)) }

func (c ActivateNode) apply(s *state) (any, error) {
	n, err := s.node("activate node", c.ID)
	if err != nil || n.State == NodeActive {
		return nil, err
	}
	if n.State != NodeJoining {
		return nil, fail("activate node", string(c.ID), fmt.Errorf("it is %s: %w", n.State, redoubt.ErrState), "")
	}
	n.State = NodeActive
	s.setNode(n)
	return nil, nil
}

// node returns the node, which may have been removed.
func (s *state) node(op string, id redoubt.NodeID) (NodeInfo, error) {
	if n, ok := s.nodes[id]; ok {
		return n, nil
	}
	return NodeInfo{}, fail(op, string(id), redoubt.ErrNotFound, "redoubt node list shows the nodes")
}
