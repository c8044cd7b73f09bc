package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// waitNode polls until done accepts the node, which is nil while the cluster
// knows none of this name, and says every two seconds how far it is. The
// state is in the cluster, so a wait that is interrupted stops nothing;
// --timeout bounds each call, not the wait.
func (a *app) waitNode(ctx context.Context, name string, done func(*adminv1.ClusterNode) (bool, string)) (*adminv1.ClusterNode, error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	said := time.Now()
	for {
		st, err := ask(ctx, a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{})
		if err != nil {
			return nil, err
		}
		n := findNode(st, name)
		ok, progress := done(n)
		if ok {
			return n, nil
		}
		if now := time.Now(); now.Sub(said) >= 2*time.Second && !a.json {
			said = now
			fmt.Fprintf(a.err, "%s: %s\n", name, progress)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

func findNode(st *adminv1.GetStatusResponse, name string) *adminv1.ClusterNode {
	for _, n := range st.Cluster {
		if n.Id == name {
			return n
		}
	}
	return nil
}

// drained accepts a node that has nothing left, or that stays after all.
func drained(n *adminv1.ClusterNode) (bool, string) {
	if n == nil || n.State != "draining" || len(n.Holds) == 0 {
		return true, ""
	}
	return false, fmt.Sprintf("it has %s; %d shards under way", strings.Join(n.Holds, ", "), n.ShardsGoing)
}

// gone accepts a node of which nothing is left.
func gone(n *adminv1.ClusterNode) (bool, string) {
	switch {
	case n == nil:
		return true, ""
	case n.Shards > 0:
		return false, fmt.Sprintf("%d shards have their home there still, %d under way", n.Shards, n.ShardsGoing)
	case len(n.Holds) > 0:
		return false, "it has " + strings.Join(n.Holds, ", ")
	}
	return false, "leaving the cluster"
}
