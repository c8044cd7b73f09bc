package target

import (
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
)

// wholeBack is how many segments below the last answer are looked at again:
// they may have lost a shard since. Their records are hardly in the source's
// journal any more beyond that.
const wholeBack = 4096

// wholeness knows how far an epoch is stored with all of its shards.
type wholeness struct {
	c      *catalog.Catalog
	series index.Series

	mu    sync.Mutex
	floor uint64 // the source's journal begins in this segment
	low   uint64 // the first segment that is not whole, when it was last looked
}

func newWholeness(c *catalog.Catalog, sr index.Series, tail redoubt.LSN) *wholeness {
	w := &wholeness{c: c, series: sr}
	if sg, ok := c.FindSegment(sr.Group, sr.Epoch, tail); ok {
		w.floor = sg.Ordinal
	}
	w.low = w.floor
	return w
}

// upTo returns the LSN up to which every segment that the source may still have
// is stored with all of its shards.
func (w *wholeness) upTo() redoubt.LSN {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.c.Group(w.series.Group)
	if !ok || g.Epoch != w.series.Epoch || g.UUID != w.series.UUID {
		return 0
	}
	from := w.floor
	if w.low > wholeBack {
		from = max(from, w.low-wholeBack)
	}
	for {
		segs := w.c.Segments(w.series.Group, w.series.Epoch, from, 1024)
		if len(segs) == 0 {
			w.low = from
			return g.Committed.LSN // read before the segments: not ahead of them
		}
		for i := range segs {
			if sg := &segs[i]; !whole(sg) {
				w.low = sg.Ordinal
				return min(sg.First-1, g.Committed.LSN)
			}
		}
		from = segs[len(segs)-1].Ordinal + 1
	}
}

func whole(sg *catalog.Segment) bool { return ones(sg.Stored) >= int(sg.K)+int(sg.M) }

// Whole implements what ship.Stream may have.
func (st *stream) Whole() redoubt.LSN { return st.whole.upTo() }
