package cluster

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Status is a node's view of the cluster.
type Status struct {
	ID      redoubt.NodeID `json:"id"`
	Leader  redoubt.NodeID `json:"leader"` // "" if there is none
	Role    string         `json:"role"`   // Leader, Follower, Candidate, Shutdown
	Term    uint64         `json:"term"`
	Last    uint64         `json:"last_index"`      // last entry in the log
	Commit  uint64         `json:"committed_index"` // last entry that is committed
	Applied uint64         `json:"applied_index"`   // last command in the catalog
	Nodes   []NodeStatus   `json:"nodes"`
}

// NodeStatus is one node as another sees it.
type NodeStatus struct {
	catalog.Member
	Voter       bool      `json:"voter"` // has a vote in Raft, as far as this node knows
	Alive       bool      `json:"alive"`
	LastContact time.Time `json:"last_contact"` // zero if never in this run
	Role        string    `json:"role"`         // as it last said
	Applied     uint64    `json:"applied_index"`
}

// Status returns this node's view of the cluster.
func (n *Node) Status() Status {
	leader, _ := n.Leader()
	s := Status{ID: n.o.ID, Leader: leader.ID, Role: n.raft.State().String(), Term: n.raft.CurrentTerm(),
		Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(), Applied: n.catalog.Index()}
	servers, _, _ := n.servers() // none while the node closes
	for _, info := range n.catalog.Members() {
		at := slices.IndexFunc(servers, func(s raft.Server) bool { return redoubt.NodeID(s.ID) == info.ID })
		if info.State == catalog.NodeRemoved && info.Held.Shards == 0 && at < 0 {
			continue // nothing is left of it
		}
		ns := NodeStatus{Member: info, Alive: info.State.Member() && n.Alive(info.ID), Voter: at >= 0 && servers[at].Suffrage == raft.Voter}
		if info.ID == n.o.ID {
			ns.LastContact, ns.Role, ns.Applied = n.o.Now(), s.Role, s.Applied
		} else {
			n.health.mu.Lock()
			c := n.health.peer(info.ID)
			ns.LastContact, ns.Role, ns.Applied = c.last, c.role, c.applied
			n.health.mu.Unlock()
		}
		s.Nodes = append(s.Nodes, ns)
	}
	return s
}
