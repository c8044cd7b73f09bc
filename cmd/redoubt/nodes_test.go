package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// cluster is three nodes; the log of t2 has failed; t3 is dead, and loses a shard a look once it is to go.
// t4 catches up as soon as it is invited.
func (s *site) cluster() []*adminv1.ClusterNode {
	nodes := []*adminv1.ClusterNode{
		{Id: "t1", Address: "t1:7700", State: "active", Domain: "r1", Alive: true, Self: true, Role: "follower", RaftIndex: 812, Shards: 120, ShardBytes: 1 << 30, Voter: true},
		{Id: "t2", Address: "t2:7700", State: "active", Domain: "r2", Alive: true, Leader: true, Role: "leader", RaftIndex: 812,
			LastContact: ago(300 * time.Millisecond), Groups: []string{"db"}, Shards: 120, ShardBytes: 1 << 30, Voter: true,
			Failed: "write 00.shards: input/output error", FailedHint: "mend the disk and restart redoubtd on t2"},
		{Id: "t3", Address: "t3:7700", State: "active", Domain: "r3", LastContact: ago(90 * time.Second), Role: "leader", Shards: 2, Voter: true},
	}
	if s.added {
		nodes = append(nodes, &adminv1.ClusterNode{Id: "t4", Address: "t4:7700", State: "active", Alive: true})
	}
	if s.gone > 0 {
		t3 := nodes[2]
		t3.State, t3.Shards = "draining", uint64(max(0, 3-s.gone))
		if t3.Shards > 0 {
			t3.Holds = []string{fmt.Sprintf("%d shards", t3.Shards)}
		}
		s.gone++
		if s.gone > 4 && s.leaves {
			nodes = append(nodes[:2], nodes[3:]...)
		}
	}
	return nodes
}

func (s *site) AddNode(_ context.Context, r *adminv1.AddNodeRequest) (*adminv1.AddNodeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Name != "t4" {
		return nil, &redoubt.Error{Op: "add node", Object: r.Name, Err: fmt.Errorf("it is a member (active): %w", redoubt.ErrExists)}
	}
	s.added = true
	return &adminv1.AddNodeResponse{Node: &adminv1.ClusterNode{Id: "t4", State: "invited"}}, nil
}

func (s *site) DrainNode(_ context.Context, r *adminv1.DrainNodeRequest) (*adminv1.DrainNodeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Name != "t3" {
		return nil, &redoubt.Error{Op: "drain node", Object: r.Name, Err: fmt.Errorf("2 active nodes would be left, group db needs 3: %w", redoubt.ErrState),
			Hint: "add a node first: redoubt node add NAME"}
	}
	s.gone = 1
	if r.Cancel {
		s.gone = 0
	}
	return &adminv1.DrainNodeResponse{}, nil
}

func (s *site) ReplaceNode(_ context.Context, _ *adminv1.ReplaceNodeRequest) (*adminv1.ReplaceNodeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.leaves = 1, true
	return &adminv1.ReplaceNodeResponse{}, nil
}

func (s *site) RemoveNode(_ context.Context, r *adminv1.RemoveNodeRequest) (*adminv1.RemoveNodeResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !r.Force && s.gone < 3 {
		return nil, &redoubt.Error{Op: "remove node", Object: r.Name, Err: fmt.Errorf("it has 2 shards: %w", redoubt.ErrState), Hint: "redoubt node drain t3"}
	}
	s.gone, s.leaves = max(1, s.gone), true
	return &adminv1.RemoveNodeResponse{}, nil
}
