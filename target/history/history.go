package history

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Cluster is what the history asks of the node's membership in the cluster.
type Cluster interface {
	// Barrier returns when this node's catalog has everything that was committed
	// before the call.
	Barrier(ctx context.Context) error
}

// Options of a History. All are required.
type Options struct {
	Catalog *catalog.Catalog
	Cluster Cluster
	Shards  *shards.Site // for heads
	Index   *index.Index
	Now     func() time.Time
}

// History answers for the groups' pasts by what this node knows. Methods may be
// called concurrently.
type History struct{ o Options }

// New returns the History of a node.
func New(o Options) *History { return &History{o: o} }

// Group returns the group from the node's catalog. ErrNotFound if there is none.
func (h *History) Group(id redoubt.GroupID) (catalog.Group, error) {
	g, ok := h.o.Catalog.Group(id)
	if !ok {
		return catalog.Group{}, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "redoubt group list shows the groups"}
	}
	return g, nil
}

// Clock is the time that retention reckons with: that of the newest
// committed write, or of this node's clock if that is behind. So a clock that
// runs ahead, here or at the source, makes nothing older than it is, and while
// nothing is written nothing is dropped. Unix nanoseconds.
func (h *History) Clock(g *catalog.Group) int64 {
	return min(h.o.Now().UnixNano(), g.CommittedTime)
}
