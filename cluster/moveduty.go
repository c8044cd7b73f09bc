package cluster

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// movesAtOnce is how many shards are on their way to a new home at most. The
// rest of a plan waits: what is not planned costs nothing, and can still be called off.
const movesAtOnce = 512

// levelAtOnce is the same for shards that move so that nodes hold alike: there
// is no hurry, and the loads may change.
const levelAtOnce = 64

// moveDuty plans new homes for the shards of nodes that leave, or that hold
// much more than others, while this node leads. The plan is in the catalog, so
// the next leader goes on with it.
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
		plan := n.catalog.plan(n.steady, n.o.LevelLeast)
		if plan == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.o.Timeouts.Attempt)
		_, err := n.Propose(ctx, plan)
		cancel()
		if err != nil && n.ctx.Err() == nil {
			n.o.Logger.Warn("moves not planned; tried again", "plan", plan.kind().String(), "error", err)
		}
	}
}

// plan returns the next moves to be proposed, or nil if there are none.
func (c *Catalog) plan(live func(redoubt.NodeID) bool, least uint64) Command {
	c.mu.RLock()
	defer c.mu.RUnlock()
	leaving := len(c.s.moves) > 0
	for id, n := range c.s.nodes {
		leaving = leaving || n.State.leaving() && c.s.heldBy(id).Shards > 0
	}
	if leaving {
		if moves := c.s.movePlan(live, movesAtOnce); len(moves) > 0 {
			return PlanMoves{Moves: moves}
		}
	}
	if moves := c.s.levelPlan(live, least, levelAtOnce); len(moves) > 0 {
		return LevelShards{Moves: moves}
	}
	return nil
}
