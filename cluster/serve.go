package cluster

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

const (
	methodPropose = "cluster.propose"
	methodBarrier = "cluster.barrier"
	methodPing    = "cluster.ping"
	methodKnown   = "cluster.known"
	// methodAnnounce is for nodes that no leader talks to: they say where they are.
	methodAnnounce = "cluster.announce"
)

// serve registers what the other nodes may call.
func (n *Node) serve() {
	handlePeer := func(method string, f func(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error)) {
		n.o.RPC.Handle(method, func(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error) {
			if peer.Role != pki.RoleTarget {
				return nil, fail("serve "+method+" to", peer.String(), redoubt.ErrDenied, "only target nodes may")
			}
			if n.ctx.Err() != nil {
				return nil, fail("serve", method, fmt.Errorf("the node is closing: %w", redoubt.ErrUnavailable), "")
			}
			return f(ctx, peer, body)
		})
	}
	handle := func(method string, f func(ctx context.Context, body []byte) ([]byte, error)) {
		handlePeer(method, func(ctx context.Context, _ pki.Identity, body []byte) ([]byte, error) { return f(ctx, body) })
	}
	lead := func(ctx context.Context, do func(context.Context) (uint64, []byte, error)) ([]byte, error) {
		if !n.IsLeader() {
			return nil, fail("lead", string(n.o.ID), fmt.Errorf("not the leader: %w", redoubt.ErrUnavailable), "")
		}
		index, out, err := do(ctx)
		if err != nil {
			return nil, err
		}
		return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(out)), index), out...), nil
	}
	handle(methodPropose, func(ctx context.Context, body []byte) ([]byte, error) {
		if _, err := catalog.DecodeEnvelope(body); err != nil {
			return nil, err // what this node cannot read must not reach the log
		}
		return lead(ctx, func(ctx context.Context) (uint64, []byte, error) { return n.applyHere(ctx, body) })
	})
	handle(methodBarrier, func(ctx context.Context, _ []byte) ([]byte, error) { return lead(ctx, n.barrierHere) })
	handle(methodPing, func(context.Context, []byte) ([]byte, error) { return n.pong(), nil })
	handle(methodKnown, n.known)
	handlePeer(methodAnnounce, n.announce)
}
