package shards

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/cache"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// Cluster is what the shards ask of the node's membership in the cluster.
type Cluster interface {
	// Barrier returns when this node's catalog has everything that was committed
	// before the call.
	Barrier(ctx context.Context) error
}

// Options of a Site. All are required.
type Options struct {
	Self      redoubt.NodeID // this node
	Log       *segment.Log   // its shards
	Peers     *peers.Peers   // lead to the others
	Catalog   *catalog.Catalog
	Cluster   Cluster
	Logger    *slog.Logger
	HeadBytes int64 // bound on parsed heads in memory

	// Rotten is told of a shard of this node that was found rotten. It calls
	// forget, and has the shard built again unless that fails.
	Rotten func(id segment.ID, forget func() error) error
	// Help lets a read of n bytes for another node's repair pass; release ends it.
	Help func(ctx context.Context, n int64) (release func(), err error)
}

// Site is the shards of all nodes, as one node reads and writes them. Methods may
// be called concurrently.
type Site struct {
	*Coders
	o       Options
	layouts layouts
	heads   *cache.Cache[headKey, *ship.Delta]

	deafUntil atomic.Int64 // Unix nanoseconds; see Outdated

	decodes, rotten, ingested atomic.Uint64
}

// headKey names a segment; what is left of a thinned one has another checksum.
type headKey struct {
	index.Series
	ordinal uint64
	crc     uint32
}

// New returns the site as the node sees it. Nothing is served before Serve.
func New(o Options) *Site {
	return &Site{Coders: NewCoders(), o: o, heads: cache.New[headKey, *ship.Delta](o.HeadBytes)}
}

// Stats are figures since the site was made.
type Stats struct {
	Decodes  uint64 // reads that had to compute a shard
	Rotten   uint64 // shards of this node found rotten
	Ingested uint64 // bytes of shards and heads that were put into this node's log
	Heads    cache.Stats
}

// Stats returns the present figures.
func (s *Site) Stats() Stats {
	return Stats{Decodes: s.decodes.Load(), Rotten: s.rotten.Load(), Ingested: s.ingested.Load(), Heads: s.heads.Stats()}
}
