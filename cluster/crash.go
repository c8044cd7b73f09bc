package cluster

import (
	"slices"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// The points at which a test kills a node in the middle of a commit of segments.
// Entries of other kinds do not pass them: a test could not tell which it killed.

// leads is IsLeader, also while Raft is being started.
func (n *Node) leads() bool {
	r := n.started.Load()
	return r != nil && r.State() == raft.Leader
}

// appended is called when entries are durable in this node's log. Raft's leader
// feeds its followers with them after that, and a follower answers after that.
func (n *Node) appended(es []*raft.Log) {
	if !slices.ContainsFunc(es, func(e *raft.Log) bool { return e.Type == raft.LogCommand && catalog.IsCommit(e.Data) }) {
		return
	}
	if n.leads() {
		crashpoint.Here("cluster.commit.appended.leader")
	} else {
		crashpoint.Here("cluster.commit.appended.follower")
	}
}

// applied is called when this node's catalog has the command, and nobody has an answer.
func (n *Node) applied(c catalog.Command) {
	if _, ok := c.(catalog.CommitSegments); !ok {
		return
	}
	if n.leads() {
		crashpoint.Here("cluster.commit.applied.leader")
	} else {
		crashpoint.Here("cluster.commit.applied.follower")
	}
}
