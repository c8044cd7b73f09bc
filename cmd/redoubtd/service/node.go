package service

import (
	"context"
	"fmt"
	"strings"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// AddNode invites a node.
func (s *Service) AddNode(ctx context.Context, r *adminv1.AddNodeRequest) (*adminv1.AddNodeResponse, error) {
	if s.target == nil {
		return s.Elsewhere.AddNode(ctx, r)
	}
	if err := s.target.Node.Invite(ctx, redoubt.NodeID(r.GetName())); err != nil {
		return nil, err
	}
	return &adminv1.AddNodeResponse{Node: s.clusterNode(r.GetName())}, nil
}

// DrainNode begins or calls off a drain.
func (s *Service) DrainNode(ctx context.Context, r *adminv1.DrainNodeRequest) (*adminv1.DrainNodeResponse, error) {
	if s.target == nil {
		return s.Elsewhere.DrainNode(ctx, r)
	}
	if err := s.target.Node.Drain(ctx, redoubt.NodeID(r.GetName()), r.GetCancel()); err != nil {
		return nil, err
	}
	return &adminv1.DrainNodeResponse{Node: s.clusterNode(r.GetName())}, nil
}

// ReplaceNode begins a replacement.
func (s *Service) ReplaceNode(ctx context.Context, r *adminv1.ReplaceNodeRequest) (*adminv1.ReplaceNodeResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ReplaceNode(ctx, r)
	}
	if err := s.target.Node.Replace(ctx, redoubt.NodeID(r.GetOld()), redoubt.NodeID(r.GetWith())); err != nil {
		return nil, err
	}
	return &adminv1.ReplaceNodeResponse{Node: s.clusterNode(r.GetOld())}, nil
}

// RemoveNode removes a node that has nothing left, or a dead one.
func (s *Service) RemoveNode(ctx context.Context, r *adminv1.RemoveNodeRequest) (*adminv1.RemoveNodeResponse, error) {
	if s.target == nil {
		return s.Elsewhere.RemoveNode(ctx, r)
	}
	before := s.clusterNode(r.GetName())
	if err := s.target.Node.Remove(ctx, redoubt.NodeID(r.GetName()), r.GetForce()); err != nil {
		return nil, err
	}
	return &adminv1.RemoveNodeResponse{Node: before}, nil
}

// clusterNode describes one node; nil if there is none of this name.
func (s *Service) clusterNode(name string) *adminv1.ClusterNode {
	for _, n := range s.clusterNodes() {
		if n.Id == name {
			return n
		}
	}
	return nil
}

func (s *Service) clusterNodes() []*adminv1.ClusterNode {
	owned := map[redoubt.NodeID][]string{}
	for _, g := range s.target.Node.Catalog().Groups() {
		owned[g.Owner] = append(owned[g.Owner], string(g.ID))
	}
	var out []*adminv1.ClusterNode
	st := s.target.Node.Status()
	for _, n := range st.Nodes {
		failed, hint := "", ""
		if n.State.Member() {
			failed = s.target.Store.Failed(n.ID)
		}
		if failed != "" {
			hint = fmt.Sprintf("mend the disk and restart redoubtd on %[1]s: it gets shards and groups again, and what it lacks is rebuilt; or do without it: redoubt node replace %[1]s NEW, or redoubt node drain %[1]s", n.ID)
		}
		out = append(out, &adminv1.ClusterNode{
			Failed: failed, FailedHint: hint,
			Id: string(n.ID), Address: n.Addr, Alive: n.Alive, Leader: n.ID == st.Leader, LastContact: stamp(n.LastContact),
			RaftIndex: n.Applied, Groups: owned[n.ID], Self: n.ID == redoubt.NodeID(s.node.Name), Role: strings.ToLower(n.Role),
			Domain: n.Domain, State: n.State.String(), Voter: n.Voter, Shards: n.Held.Shards, ShardBytes: n.Held.Bytes,
			ShardsComing: n.Coming, ShardsGoing: n.Going, Successor: string(n.Successor), Holds: n.Holds,
		})
	}
	return out
}
