package cluster

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// movesAtOnce is how many shards are on their way to a new home at most. The
// rest of a plan waits: what is not planned costs nothing, and can still be called off.
const movesAtOnce = 512

// moveDuty plans new homes for the shards of nodes that leave, while this node
// leads. The plan is in the catalog, so the next leader goes on with it.
func (n *Node) moveDuty() {
	t := time.NewTicker(n.o.Timeouts.Ping)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
		if !n.IsLeader() {
			continue
		}
		plan := n.catalog.plan(n.steady, movesAtOnce)
		if len(plan) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.o.Timeouts.Attempt)
		_, err := n.Propose(ctx, PlanMoves{Moves: plan})
		cancel()
		if err != nil && n.ctx.Err() == nil {
			n.o.Logger.Warn("moves not planned; tried again", "moves", len(plan), "error", err)
		}
	}
}

func (c *Catalog) plan(live func(redoubt.NodeID) bool, room int) []ShardMove {
	c.mu.RLock()
	defer c.mu.RUnlock()
	leaving := len(c.s.moves) > 0
	for id, n := range c.s.nodes {
		leaving = leaving || n.State.leaving() && c.s.heldBy(id).Shards > 0
	}
	if !leaving {
		return nil
	}
	return c.s.movePlan(live, room)
}
