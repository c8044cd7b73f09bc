package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// register tells the catalog where this node is, again and again until it is in.
func (n *Node) register() {
	me := NodeInfo{ID: n.o.ID, Addr: n.o.Advertise, Instance: n.self.Instance}
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
		_, err := n.Propose(ctx, PutNode{Node: me})
		cancel()
		switch {
		case err == nil:
			return
		case errors.Is(err, redoubt.ErrExists) || errors.Is(err, redoubt.ErrInvalid):
			n.fatal(err)
			return
		}
		n.o.Logger.Debug("not registered yet", "error", err)
	}
}

// askIfKnown refuses to start a node without a log that the others know.
func (n *Node) askIfKnown() error {
	var wg sync.WaitGroup
	known := make([]redoubt.NodeID, len(n.o.Bootstrap))
	for i, p := range n.o.Bootstrap {
		if p.ID == n.o.ID {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.ctx, time.Second)
			defer cancel()
			if b, err := n.o.Pool.Call(ctx, p.Addr, methodKnown, []byte(n.o.ID)); err == nil && len(b) == 1 && b[0] == 1 {
				known[i] = p.ID
			}
		})
	}
	wg.Wait()
	for _, id := range known {
		if id != "" {
			return fail("start cluster node", string(n.o.ID),
				errors.Join(errors.New("it has no log, but node "+string(id)+" knows it"), redoubt.ErrExists),
				"a node whose folder was lost comes back under a new id")
		}
	}
	return nil
}

// known answers askIfKnown of another node.
func (n *Node) known(_ context.Context, id []byte) ([]byte, error) {
	if _, ok := n.catalog.Node(redoubt.NodeID(id)); ok {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}
