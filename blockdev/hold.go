package blockdev

import (
	"context"

	"github.com/redoubt-dr/redoubt"
)

// ResetHeld is Reset while clients write: their writes wait until it is over,
// and none of them fails for it.
func (g *Group) ResetHeld(ctx context.Context, p redoubt.Position) error {
	g.setHeld(true)
	defer g.setHeld(false)
	return g.Reset(ctx, p)
}

func (g *Group) setHeld(held bool) {
	g.mu.Lock()
	g.held = held
	g.wake()
	g.mu.Unlock()
}
