package history

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Changed returns what was written in the stretch: per disk, sorted and merged.
func (h *History) Changed(ctx context.Context, id redoubt.GroupID, st redoubt.Stretch) (map[redoubt.DiskID][]redoubt.Extent, error) {
	e, from, to := st.Epoch, st.From, st.To
	if err := h.o.Cluster.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := h.Group(id)
	if err != nil {
		return nil, err
	}
	f, ok := g.Lineage.Find(e)
	head, _ := h.o.Catalog.Head(id, e)
	if !ok || from < f.At || to > head || from > to {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id),
			Err: fmt.Errorf("(%d, %d] of epoch %d, which has (%d, %d]: %w", from, to, e, f.At, head, redoubt.ErrInvalid)}
	}
	if !h.retained(&g, redoubt.Position{Epoch: e, LSN: to}) {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id), Err: fmt.Errorf("point %d:%d: %w", e, to, redoubt.ErrNotFound), Hint: "it is not retained"}
	}
	if from == to {
		return map[redoubt.DiskID][]redoubt.Extent{}, nil
	}
	first, ok1 := h.o.Catalog.FindSegment(id, e, from+1)
	last, ok2 := h.o.Catalog.FindSegment(id, e, to)
	if !ok1 || !ok2 {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "it is not retained"}
	}
	return h.o.Index.Extents(ctx, index.Range{Series: shards.SeriesOf(&g, e), First: first.Ordinal, Last: last.Ordinal, From: from, To: to,
		WholeFirst: first.First == from+1, WholeLast: last.Last == to})
}

// Writes calls fn for each change of a stretch of the history, in order, until
// fn returns false. ErrNotFound: retention has taken some of them away.
func (h *History) Writes(ctx context.Context, id redoubt.GroupID, st redoubt.Stretch, fn func(*ship.Entry) bool) error {
	if st.To <= st.From {
		return nil
	}
	g, err := h.Group(id)
	if err != nil {
		return err
	}
	sr := shards.SeriesOf(&g, st.Epoch)
	for lsn := st.From + 1; lsn <= st.To; {
		sg, ok := h.o.Catalog.FindSegment(id, st.Epoch, lsn)
		if !ok || sg.Gone() {
			return notKept(id, st.Epoch, lsn)
		}
		last, more, err := h.writesOf(ctx, sr, sg.Ordinal, lsn, st.To, fn)
		if err != nil || !more {
			return err
		}
		lsn = last + 1
	}
	return nil
}

// writesOf does it for one segment, and returns its last LSN.
func (h *History) writesOf(ctx context.Context, sr index.Series, ordinal uint64, from, to redoubt.LSN, fn func(*ship.Entry) bool) (last redoubt.LSN, more bool, err error) {
	sg, d, err := h.o.Shards.SegmentHead(ctx, sr, ordinal)
	if err != nil {
		return 0, false, err
	}
	next := from
	for i := 0; d != nil && i < len(d.Entries); i++ {
		e := &d.Entries[i]
		if e.LSN < from || e.LSN > to {
			continue
		}
		if e.LSN > next { // a segment that was never thinned has them all
			return 0, false, notKept(sr.Group, sr.Epoch, next)
		}
		next = e.LSN + 1
		if !fn(e) {
			return 0, false, nil
		}
	}
	if next <= min(to, sg.Last) {
		return 0, false, notKept(sr.Group, sr.Epoch, next)
	}
	return sg.Last, true, nil
}

func notKept(id redoubt.GroupID, e redoubt.Epoch, lsn redoubt.LSN) error {
	return &redoubt.Error{Op: "list writes of group", Object: string(id), Err: fmt.Errorf("write %d:%d: %w", e, lsn, redoubt.ErrNotFound), Hint: "retention has thinned it"}
}
