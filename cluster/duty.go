package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// duty is what the leader does by itself, until Close: it replaces owners that
// are silent or cannot store, and lets all nodes compare the checksums of their
// logs.
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
			n.raft.Apply(catalog.EncodeEnvelope(catalog.Envelope{}), n.o.Timeouts.Attempt) // lost with the leader: the next one makes its own
		}
	}
}

// ownerParallel is how many changes of owner are under way at once: they share
// a commit then.
const ownerParallel = 32

// replaceOwners gives the groups of owners that are silent, leave, or cannot
// store, to nodes that can, and evens out, gently.
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
				n.o.Logger.Warn("owner not changed", "group", c.Group, "node", c.Node, "error", err)
				return
			}
			n.o.Logger.Info("owner changed", "group", c.Group, "node", c.Node)
		})
	}
	wg.Wait()
}

// ownerPlan says which groups need which new owner now.
func (n *Node) ownerPlan() []catalog.SetOwner {
	may, lost := fitness(n.catalog.Members(), n.Alive, n.steady, func(id redoubt.NodeID) bool { return n.broken(id) != "" })
	now := n.o.Now()
	gentle := now.Sub(n.rebalanced) >= n.o.Timeouts.Rebalance
	plan := planOwners(n.catalog.Groups(), may, lost, gentle)
	if gentle && len(plan) > 0 {
		n.rebalanced = now
	}
	return plan
}

// fitness says which nodes may be given groups, and which must lose theirs: those
// that leave, are silent, or cannot store. Where no node can store, that counts
// for nothing: such an owner is better than none.
func fitness(members []catalog.Member, alive, steady, broken func(redoubt.NodeID) bool) (may, lost map[redoubt.NodeID]bool) {
	may, lost = map[redoubt.NodeID]bool{}, map[redoubt.NodeID]bool{}
	answers := func(m catalog.Member) bool { return m.State == catalog.NodeActive && alive(m.ID) }
	some := slices.ContainsFunc(members, func(m catalog.Member) bool { return answers(m) && !broken(m.ID) })
	for _, m := range members {
		cannot := some && broken(m.ID)
		may[m.ID] = answers(m) && !cannot
		lost[m.ID] = m.State != catalog.NodeActive || !steady(m.ID) || cannot
	}
	return may, lost
}

// planOwners gives the groups of nodes that must not own any (lost) to those
// that may, spread evenly. If there are none such, and gentle is set, it moves
// one group from the node with the most to the one with the fewest: its stream is
// interrupted for a moment, so not more at once.
func planOwners(groups []catalog.Group, may, lost map[redoubt.NodeID]bool, gentle bool) []catalog.SetOwner {
	load := map[redoubt.NodeID]int{}
	for i := range groups {
		load[groups[i].Owner]++
	}
	var ids []redoubt.NodeID
	for _, id := range slices.Sorted(maps.Keys(may)) {
		if may[id] {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	byLoad := func(a, b redoubt.NodeID) int { return cmp.Compare(load[a], load[b]) }
	var plan []catalog.SetOwner
	for i := range groups {
		if g := &groups[i]; lost[g.Owner] {
			to := slices.MinFunc(ids, byLoad)
			load[to]++
			plan = append(plan, catalog.SetOwner{Group: g.ID, Node: to, Term: g.OwnerTerm})
		}
	}
	from, to := slices.MaxFunc(ids, byLoad), slices.MinFunc(ids, byLoad)
	if len(plan) > 0 || !gentle || load[from]-load[to] < 2 {
		return plan
	}
	i := slices.IndexFunc(groups, func(g catalog.Group) bool { return g.Owner == from })
	return []catalog.SetOwner{{Group: groups[i].ID, Node: to, Term: groups[i].OwnerTerm}}
}
