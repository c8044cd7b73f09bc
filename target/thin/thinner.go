package thin

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/history"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// The methods that nodes call on one another.
const (
	methodSpace  = "target.space"  // bytes that the node has left
	methodLeases = "target.leases" // leaseRequest -> the points of a group that are open
)

// Cluster is what retention asks of the node's membership in the cluster.
type Cluster interface {
	// Barrier returns when this node's catalog has everything that was committed
	// before the call.
	Barrier(ctx context.Context) error
	Propose(ctx context.Context, cmd catalog.Command) (any, error)
}

// Options of a Thinner. All but Policy and Batch are required.
type Options struct {
	Self    redoubt.NodeID // this node
	Catalog *catalog.Catalog
	Cluster Cluster
	History *history.History
	Shards  *shards.Site // for heads
	Index   *index.Index
	Peers   *peers.Peers
	Leases  *Leases // of the Views that are open here
	Logger  *slog.Logger

	// Delta reads all of a segment, checked against its manifest.
	Delta func(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error)
	// Put makes what is left of the segment old durable, with as many shards as old has.
	Put func(ctx context.Context, sr index.Series, old *catalog.Segment, left *ship.Delta) (catalog.Segment, error)

	Policy *catalog.Policy // of groups for which nobody chose one; nil: catalog.DefaultPolicy
	Tick   time.Duration
	Every  time.Duration          // between two plans of a group
	Answer time.Duration          // for which all nodes are waited for to say what they read
	Batch  uint64                 // segments that one step looks at at most; default 256
	Pace   *pace.Pacer            // of what is written; repair's, so that both share a rate
	Free   func() (uint64, error) // bytes that this node has left
}

// Thinner thins the history of the groups that this node owns, as their policies
// say, and tells what a policy holds, would drop and would cost. Methods may be
// called concurrently.
type Thinner struct {
	o   Options
	ctx context.Context // ends the work

	retaining sync.Mutex // one plan at a time

	mu    sync.Mutex
	stuck map[redoubt.GroupID]error // why a group's history is not thinned
}

// New returns the Thinner of a node; what it does ends with ctx.
func New(ctx context.Context, o Options) *Thinner {
	if o.Batch == 0 {
		o.Batch = 256
	}
	return &Thinner{o: o, ctx: ctx, stuck: map[redoubt.GroupID]error{}}
}

// Serve registers what other nodes may call.
func (th *Thinner) Serve() {
	th.o.Peers.Handle(methodLeases, th.serveLeases)
	th.o.Peers.Handle(methodSpace, th.serveSpace)
}
