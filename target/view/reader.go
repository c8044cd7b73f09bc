package view

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/cache"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Options of a Reader. All are required.
type Options struct {
	Shards     *shards.Site
	Index      *index.Index
	Catalog    *catalog.Catalog
	Logger     *slog.Logger
	CacheBytes int64 // bound on inflated blocks in memory
	// Go runs fn beside the caller, unless the store closes: then it returns false.
	Go func(fn func()) bool
}

// Reader opens Views on one node; they share its cache of blocks. Methods may be
// called concurrently.
type Reader struct {
	o      Options
	ctx    context.Context // ends all Views
	blocks *cache.Cache[blockKey, *rawBlock]
	room   *semaphore.Weighted // bytes that are being read ahead

	brought atomic.Uint64
}

type segmentKey struct {
	index.Series
	ordinal uint64
}

type blockKey struct {
	segmentKey
	block uint32
}

// New returns the Reader of a node; its Views fail with ErrClosed once ctx is over.
func New(ctx context.Context, o Options) *Reader {
	return &Reader{o: o, ctx: ctx, blocks: cache.New[blockKey, *rawBlock](o.CacheBytes), room: semaphore.NewWeighted(aheadTotal)}
}

// Stats are figures since the Reader was made.
type Stats struct {
	Ahead  uint64 // stretches of up to 1 MiB that were read ahead of sequential readers
	Blocks cache.Stats
}

// Stats returns the present figures.
func (r *Reader) Stats() Stats { return Stats{Ahead: r.brought.Load(), Blocks: r.blocks.Stats()} }

// Open opens the group at p, which the caller has found to be committed and kept.
// The View's Close calls release; if Open fails, nobody does. ErrNotFound if not
// all of the history up to p is there.
func (r *Reader) Open(ctx context.Context, g *catalog.Group, p redoubt.Position, release func()) (*View, error) {
	v := &View{r: r, pos: p, release: release, disks: r.o.Catalog.DisksAt(g.ID, p), series: map[redoubt.Epoch]index.Series{}}
	var spans []index.Span
	for _, st := range g.Lineage.Path(p) {
		if st.To == st.From {
			continue
		}
		sg, ok := r.o.Catalog.FindSegment(g.ID, st.Epoch, st.To)
		if !ok {
			return nil, &redoubt.Error{Op: "open point " + p.String() + " of group", Object: string(g.ID), Err: redoubt.ErrNotFound, Hint: "it is not retained"}
		}
		sp := index.Span{Series: shards.SeriesOf(g, st.Epoch), Full: sg.Ordinal + 1}
		if sg.Last > st.To {
			sp.Full, sp.Partial, sp.Upto = sg.Ordinal, true, st.To
		}
		v.series[st.Epoch] = sp.Series
		spans = append(spans, sp)
	}
	var err error
	if v.prefix, err = r.o.Index.Prefix(ctx, spans); err != nil {
		return nil, err
	}
	v.ctx, v.cancel = context.WithCancel(r.ctx)
	return v, nil
}
