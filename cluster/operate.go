package cluster

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Invite lets a node of this name join; it does so by itself as soon as it
// runs with the address of a member in its configuration.
func (n *Node) Invite(ctx context.Context, id redoubt.NodeID) error {
	_, err := n.Propose(ctx, catalog.InviteNode{ID: id})
	return err
}

// Drain has the node's shards and groups move to the others; cancel lets it
// stay. It returns when that is agreed, not when it is done: Members tells.
func (n *Node) Drain(ctx context.Context, id redoubt.NodeID, cancel bool) error {
	_, err := n.Propose(ctx, catalog.DrainNode{ID: id, Cancel: cancel})
	return err
}

// Replace has every shard of the node old, live or dead, move to the node with,
// and removes old at the end. It returns when that is agreed, not when it is done.
func (n *Node) Replace(ctx context.Context, old, with redoubt.NodeID) error {
	if err := n.keepsMajority(ctx, "replace node", old); err != nil {
		return err
	}
	_, err := n.Propose(ctx, catalog.DrainNode{ID: old, Successor: with, Leave: true})
	return err
}

// Remove takes the node out of the cluster for good: with force also a dead one
// that still has shards, if the live ones can rebuild them. ErrState if it
// must stay.
func (n *Node) Remove(ctx context.Context, id redoubt.NodeID, force bool) error {
	const op = "remove node"
	if err := n.keepsMajority(ctx, op, id); err != nil {
		return err
	}
	if force {
		m, ok := n.catalog.Node(id)
		if ok && m.State != catalog.NodeInvited && m.State != catalog.NodeRemoved && n.Alive(id) {
			return fail(op, string(id), fmt.Errorf("it is alive: %w", redoubt.ErrState), "redoubt node drain "+string(id)+" first; --force is for dead nodes")
		}
		if lost := n.catalog.LostWithout(id, n.Alive); lost > 0 {
			return fail(op, string(id), fmt.Errorf("%d segments could not be rebuilt without it: %w", lost, redoubt.ErrState),
				"bring it or other dead nodes back, or wait until the live ones have repaired what they lack")
		}
	}
	_, err := n.Propose(ctx, catalog.RemoveNode{ID: id, Force: force})
	return err
}

// keepsMajority refuses to remove a voter if most of the others are not there:
// nothing could be agreed on any more.
func (n *Node) keepsMajority(ctx context.Context, op string, id redoubt.NodeID) error {
	if err := n.Barrier(ctx); err != nil {
		return err
	}
	servers, _, err := n.servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if redoubt.NodeID(s.ID) == id && !majority(servers, id, n.Alive) {
			return fail(op, string(id), fmt.Errorf("most of the other nodes are not there: %w", redoubt.ErrState), "bring nodes back first: redoubt node list")
		}
	}
	return nil
}
