package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// duty is what the leader does by itself, until Close: it replaces owners that
// are silent, and lets all nodes compare the checksums of their logs.
func (n *Node) duty() {
	t := time.NewTicker(n.o.Timeouts.Ping)
	defer t.Stop()
	checkpoint := n.o.Now()
	for {
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
		if !n.IsLeader() {
			checkpoint = n.o.Now()
			continue
		}
		n.replaceOwners()
		if n.o.Now().Sub(checkpoint) >= n.o.Timeouts.Checkpoint {
			checkpoint = n.o.Now()
			n.raft.Apply(encodeEnvelope(envelope{}), n.o.Timeouts.Attempt) // lost with the leader: the next one makes its own
		}
	}
}

// ownerParallel is how many changes of owner are under way at once: they share
// a commit then.
const ownerParallel = 32

// replaceOwners gives the groups of silent owners to nodes that answer.
func (n *Node) replaceOwners() {
	plan := n.ownerPlan()
	if len(plan) == 0 {
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, ownerParallel)
	for _, c := range plan {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(n.ctx, n.o.Timeouts.Attempt)
			defer cancel()
			if _, err := n.Propose(ctx, c); err != nil {
				n.o.Logger.Warn("owner not replaced", "group", c.Group, "node", c.Node, "error", err)
				return
			}
			n.o.Logger.Warn("owner replaced: it was silent", "group", c.Group, "node", c.Node)
		})
	}
	wg.Wait()
}

// ownerPlan says which groups need which new owner, spread evenly.
func (n *Node) ownerPlan() []SetOwner {
	silent := map[redoubt.NodeID]bool{}
	var live []redoubt.NodeID
	for _, node := range n.catalog.Nodes() {
		switch {
		case node.ID != n.o.ID && n.health.silent(node.ID) >= n.o.Timeouts.Owner:
			silent[node.ID] = true
		case n.Alive(node.ID):
			live = append(live, node.ID)
		}
	}
	if len(silent) == 0 || len(live) == 0 {
		return nil
	}
	groups := n.catalog.Groups()
	load := map[redoubt.NodeID]int{}
	for i := range groups {
		load[groups[i].Owner]++
	}
	var plan []SetOwner
	for i := range groups {
		g := &groups[i]
		if !silent[g.Owner] {
			continue
		}
		to := live[0]
		for _, id := range live[1:] {
			if load[id] < load[to] {
				to = id
			}
		}
		load[to]++
		plan = append(plan, SetOwner{Group: g.ID, Node: to, Term: g.OwnerTerm})
	}
	return plan
}
