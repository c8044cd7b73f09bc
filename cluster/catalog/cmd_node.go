package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// PutNode registers a founding member, or a member's new address; of Node it
// takes ID, Addr and Instance. Result: nil. ErrExists if the ID belongs to a
// node with another Instance, ErrState if the node was removed.
type PutNode struct{ Node NodeInfo }

func (c PutNode) kind() kind        { return kindPutNode }
func (c PutNode) encode(e *encoder) { e.node(c.Node) }

func (c PutNode) check() error {
	if err := redoubt.ValidName("node", string(c.Node.ID)); err != nil {
		return err
	}
	if err := redoubt.ValidName("instance", c.Node.Instance); err != nil {
		return err
	}
	if c.Node.Addr == "" || len(c.Node.Addr) > maxAddr {
		return invalid("register node", string(c.Node.ID), "bad address")
	}
	return nil
}

func (c PutNode) apply(s *state) (any, error) {
	old, known := s.nodes[c.Node.ID]
	if known && old.Instance != c.Node.Instance {
		return nil, fail("register node", string(c.Node.ID),
			fmt.Errorf("another instance of this node is registered: %w", redoubt.ErrExists),
			"a node whose folder was lost comes back under a new name")
	}
	if !known && len(s.nodes) >= maxNodes {
		return nil, invalid("register node", string(c.Node.ID), "too many nodes")
	}
	if known && old.State == NodeRemoved {
		return nil, errRemoved(c.Node.ID)
	}
	old.ID, old.Addr, old.Instance = c.Node.ID, c.Node.Addr, c.Node.Instance
	s.nodes[c.Node.ID] = old
	return nil, nil
}

func errRemoved(id redoubt.NodeID) error {
	return fail("register node", string(id), fmt.Errorf("it was removed from the cluster: %w", redoubt.ErrState),
		"a node comes back with an empty data_dir under a new name: redoubt node add NAME")
}
