package cluster

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

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
		plan := n.catalog.NextMoves(n.storing, n.o.LevelLeast)
		if plan == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, n.o.Timeouts.Attempt)
		_, err := n.Propose(ctx, plan)
		cancel()
		if err != nil && n.ctx.Err() == nil {
			n.o.Logger.Warn("moves not planned; tried again", "plan", catalog.Name(plan), "error", err)
		}
	}
}
