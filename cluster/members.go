package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// catchUp is how many commands a node may be behind the leader to become a voter.
const catchUp = 64

// change is one step that brings Raft's membership nearer to the catalog's.
type change struct {
	what stepKind
	id   redoubt.NodeID
	addr string
}

type stepKind uint8

const (
	stepNone     stepKind = iota
	stepNonvoter          // add it, or its new address, without a vote
	stepVoter             // give it a vote, or a voter its new address
	stepRemove
	stepHandOver // the leader is to be removed: somebody else leads first
	stepActivate // it is a voter: the catalog may use it
)

// view is what the leader sees of the nodes.
type view struct {
	self     redoubt.NodeID
	live     func(redoubt.NodeID) bool // not given up
	there    func(redoubt.NodeID) bool // answered a moment ago: what must be sure goes by it
	caughtUp func(redoubt.NodeID) bool
	knows    func(id redoubt.NodeID, index uint64) bool // its catalog has this entry
}

// nextChange compares the catalog with Raft's configuration and returns the one
// step to take now: a pure function, so that a new leader goes on where the
// old one stopped.
func nextChange(nodes []catalog.Member, servers []raft.Server, v view) change {
	in := map[redoubt.NodeID]raft.Server{}
	for _, s := range servers {
		in[redoubt.NodeID(s.ID)] = s
	}
	for _, n := range nodes {
		s, member := in[n.ID]
		voter := member && s.Suffrage == raft.Voter
		switch {
		case n.State == catalog.NodeInvited:
		case n.State == catalog.NodeRemoved:
			if c := leave(n, member, servers, v); c.what != stepNone {
				return c
			}
		case member && string(s.Address) != n.Addr && voter:
			return change{stepVoter, n.ID, n.Addr}
		case !member, string(s.Address) != n.Addr:
			return change{stepNonvoter, n.ID, n.Addr}
		case !voter && v.live(n.ID) && v.caughtUp(n.ID):
			return change{stepVoter, n.ID, n.Addr}
		case voter && n.State == catalog.NodeJoining:
			return change{stepActivate, n.ID, ""}
		}
	}
	return change{}
}

// leave takes a removed node out of Raft, once it knows or is dead, and as long
// as most of the voters that stay are there.
func leave(n catalog.Member, member bool, servers []raft.Server, v view) change {
	switch {
	case !member, v.live(n.ID) && !v.knows(n.ID, n.Changed), !majority(servers, n.ID, v.there):
		return change{}
	case n.ID == v.self:
		return change{stepHandOver, n.ID, ""}
	}
	return change{stepRemove, n.ID, ""}
}

// majority reports whether most of the voters without one node are there.
func majority(servers []raft.Server, without redoubt.NodeID, there func(redoubt.NodeID) bool) bool {
	voters, up := 0, 0
	for _, s := range servers {
		if id := redoubt.NodeID(s.ID); s.Suffrage == raft.Voter && id != without {
			voters++
			if there(id) {
				up++
			}
		}
	}
	return up > voters/2
}

// memberDuty keeps Raft's membership as the catalog says, while this node leads.
func (n *Node) memberDuty() {
	t := time.NewTicker(n.o.Timeouts.Ping)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
		if me, ok := n.catalog.Node(n.o.ID); ok && me.State == catalog.NodeRemoved && me.Instance == n.self.Instance && !n.IsLeader() {
			n.fatal(fail("take part in the cluster", string(n.o.ID), fmt.Errorf("it was removed: %w", redoubt.ErrState),
				"to come back it needs an empty data_dir and a new name: redoubt node add NAME"))
		}
		if !n.IsLeader() {
			continue
		}
		servers, index, err := n.servers()
		if err != nil {
			continue
		}
		if c := nextChange(n.catalog.Members(), servers, n.view()); c.what != stepNone {
			if err := n.take(c, index); err != nil && n.ctx.Err() == nil {
				n.o.Logger.Warn("membership not changed; tried again", "node", c.id, "error", err)
			}
		}
		n.leaveWhenDrained()
	}
}

func (n *Node) view() view {
	mine := n.catalog.Index()
	knows := func(id redoubt.NodeID, index uint64) bool { return id == n.o.ID || n.health.applied(id) >= index }
	return view{self: n.o.ID, live: n.steady, there: n.Alive, knows: knows,
		caughtUp: func(id redoubt.NodeID) bool { return knows(id, max(mine, catchUp)-catchUp+1) }}
}

// servers returns Raft's latest configuration and its index.
func (n *Node) servers() ([]raft.Server, uint64, error) {
	if n.raft == nil { // it is about to start: see fresh
		return nil, 0, fail("read membership", string(n.o.ID), redoubt.ErrUnavailable, "")
	}
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, 0, fail("read membership", string(n.o.ID), err, "")
	}
	return f.Configuration().Servers, f.Index(), nil
}

// take carries out one step. prev is the configuration that it was planned
// for: Raft refuses it if another change came in between.
func (n *Node) take(c change, prev uint64) error {
	id, addr, limit := raft.ServerID(c.id), raft.ServerAddress(c.addr), n.o.Timeouts.Attempt
	ctx, cancel := context.WithTimeout(n.ctx, limit)
	defer cancel()
	var err error
	switch c.what {
	case stepNonvoter:
		err = await(ctx, n.raft.AddNonvoter(id, addr, prev, limit))
	case stepVoter:
		err = await(ctx, n.raft.AddVoter(id, addr, prev, limit))
	case stepRemove:
		err = await(ctx, n.raft.RemoveServer(id, prev, limit))
	case stepHandOver:
		err = await(ctx, n.raft.LeadershipTransfer())
	case stepActivate:
		_, err = n.Propose(ctx, catalog.ActivateNode{ID: c.id})
	}
	if err == nil {
		n.o.Logger.Info("membership changed", "node", c.id, "step", c.what.String(), "address", c.addr)
	}
	return err
}

func (k stepKind) String() string {
	return [...]string{"none", "non-voter", "voter", "removed", "handed over", "active"}[k]
}

// leaveWhenDrained removes the nodes that were to go when nothing is left on them.
func (n *Node) leaveWhenDrained() {
	for _, m := range n.catalog.Members() {
		if m.State != catalog.NodeDraining || !m.Leave || len(m.Holds) > 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.o.Timeouts.Attempt)
		err := n.Remove(ctx, m.ID, false)
		cancel()
		if err != nil && n.ctx.Err() == nil {
			n.o.Logger.Warn("drained node not removed; tried again", "node", m.ID, "error", err)
		}
	}
}
