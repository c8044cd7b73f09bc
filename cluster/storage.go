package cluster

import "github.com/redoubt-dr/redoubt"

// Storage is what the leader must know of the nodes' shard logs: a node that
// cannot store gets no shards, and owns no groups while another may. Its methods
// are called at any time, concurrently, also when what they ask is closed.
type Storage interface {
	// Up reports whether shards may be given to the node now.
	Up(redoubt.NodeID) bool
	// Failed says why the node's log takes nothing until it is opened again; "": it does.
	Failed(redoubt.NodeID) string
}

// GoBy sets what the leader knows of the nodes' shard logs; until then all are sound.
func (n *Node) GoBy(s Storage) { n.storage.Store(&s) }

// takes reports whether the node's shard log takes shards now.
func (n *Node) takes(id redoubt.NodeID) bool {
	s := n.storage.Load()
	return s == nil || (*s).Up(id)
}

// broken says why the node's shard log takes nothing until it is opened again.
func (n *Node) broken(id redoubt.NodeID) string {
	if s := n.storage.Load(); s != nil {
		return (*s).Failed(id)
	}
	return ""
}

// storing reports whether shards may move to the node.
func (n *Node) storing(id redoubt.NodeID) bool { return n.steady(id) && n.takes(id) }
