package thin

import (
	"context"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/peers"
)

// Leases counts the Views that are open on this node. Before a plan takes bytes
// away the owner asks every node for them. A View takes its lease before it
// looks whether its point is there: so either the plan's owner hears of it, or
// the View hears of the plan. Methods may be called concurrently.
type Leases struct {
	mu   sync.Mutex
	open map[redoubt.GroupID]map[redoubt.Position]int
}

// NewLeases returns Leases of a node on which nothing is open.
func NewLeases() *Leases {
	return &Leases{open: map[redoubt.GroupID]map[redoubt.Position]int{}}
}

// Take counts one more reader of the point; the function that it returns, which
// may be called more than once, ends that.
func (l *Leases) Take(id redoubt.GroupID, p redoubt.Position) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[id] == nil {
		l.open[id] = map[redoubt.Position]int{}
	}
	l.open[id][p]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.open[id][p]--; l.open[id][p] == 0 {
			delete(l.open[id], p)
		}
	})
}

// Of lists the points of the group that are open, in no order.
func (l *Leases) Of(id redoubt.GroupID) (out []redoubt.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.open[id] {
		out = append(out, p)
	}
	return out
}

// leaseRequest asks which points of the group are open, once the node's
// catalog has the plan.
type leaseRequest struct {
	Group redoubt.GroupID
	Plan  uint64
}

func (th *Thinner) serveLeases(ctx context.Context, body []byte) ([]byte, error) {
	var r leaseRequest
	if _, err := peers.Decode(body, &r); err != nil {
		return nil, err
	}
	ps, err := th.openPoints(ctx, r)
	if err != nil {
		return nil, err
	}
	return peers.Encode(ps), nil
}

// openPoints lists what is open on this node after the plan became known here.
func (th *Thinner) openPoints(ctx context.Context, r leaseRequest) ([]redoubt.Position, error) {
	for {
		changed := th.o.Catalog.Changed()
		if th.o.Catalog.Retention(r.Group).Plans >= r.Plan {
			return th.o.Leases.Of(r.Group), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-th.ctx.Done():
			return nil, redoubt.ErrClosed
		}
	}
}

// askLeases returns the points that any node has open. Every node must answer.
func (th *Thinner) askLeases(ctx context.Context, id redoubt.GroupID, plan uint64) (map[redoubt.Position]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, th.o.Answer)
	defer cancel()
	req := leaseRequest{Group: id, Plan: plan}
	out := map[redoubt.Position]bool{}
	for _, n := range th.o.Catalog.Nodes() {
		var ps []redoubt.Position
		var err error
		if n.ID == th.o.Self {
			ps, err = th.openPoints(ctx, req)
		} else {
			ps, err = th.askNode(ctx, n, req)
		}
		if err != nil {
			return nil, &redoubt.Error{Op: "ask which points are open on node", Object: string(n.ID), Err: err,
				Hint: "nothing is thinned until every node answers: bring it back or remove it"}
		}
		for _, p := range ps {
			out[p] = true
		}
	}
	return out, nil
}

func (th *Thinner) askNode(ctx context.Context, n catalog.NodeInfo, r leaseRequest) (ps []redoubt.Position, err error) {
	b, err := th.o.Peers.Call(ctx, n.ID, methodLeases, peers.Encode(r))
	if err == nil {
		_, err = peers.Decode(b, &ps)
	}
	return ps, err
}
