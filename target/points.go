package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/index"
)

// Point is the end of a segment; every LSN in it is a recovery point too.
type Point struct {
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"`  // of the last write, Unix nanoseconds
	First    redoubt.LSN      `json:"first"` // first LSN of the segment, or the baseline within it
	Since    int64            `json:"since"` // time of the segment's first write, Unix nanoseconds
	Bytes    uint32           `json:"bytes"` // of the stored delta
	Degraded bool             `json:"degraded,omitempty"`
}

// Points lists the recovery points on the history that leads to the current
// state, newest first, at most limit of them.
func (s *Store) Points(ctx context.Context, id redoubt.GroupID, limit int) ([]Point, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	var out []Point
	if g.Baseline == 0 {
		return out, nil
	}
	for _, st := range g.Lineage.Path(g.Committed) {
		if st.To == st.From {
			continue
		}
		sg, ok := s.catalog.FindSegment(id, st.Epoch, st.To)
		for ok && len(out) < limit {
			p := Point{Position: redoubt.Position{Epoch: st.Epoch, LSN: min(sg.Last, st.To)}, Time: sg.LastTime, First: max(sg.First, g.Baseline), Since: sg.FirstTime,
				Bytes: sg.Size, Degraded: ones(sg.Stored) < int(sg.K)+int(sg.M)}
			if p.Position.LSN < g.Baseline {
				return out, nil
			}
			if sg.Last > st.To { // the epoch was left in the middle of this segment
				at, err := s.timeOf(ctx, &g, p.Position)
				if err != nil {
					return nil, err
				}
				p.Time = at.UnixNano()
			}
			out = append(out, p)
			if ok = sg.Ordinal > 0; ok {
				prev := s.catalog.Segments(id, st.Epoch, sg.Ordinal-1, 1)
				if ok = len(prev) == 1; ok {
					sg = prev[0]
				}
			}
		}
	}
	return out, nil
}

// Changed returns what was written in the stretch: per disk, sorted and merged.
func (s *Store) Changed(ctx context.Context, id redoubt.GroupID, st redoubt.Stretch) (map[redoubt.DiskID][]redoubt.Extent, error) {
	e, from, to := st.Epoch, st.From, st.To
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	f, ok := g.Lineage.Find(e)
	head, _ := s.catalog.Head(id, e)
	if !ok || from < f.At || to > head || from > to {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id),
			Err: fmt.Errorf("(%d, %d] of epoch %d, which has (%d, %d]: %w", from, to, e, f.At, head, redoubt.ErrInvalid)}
	}
	if !s.retained(&g, redoubt.Position{Epoch: e, LSN: to}) {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id), Err: fmt.Errorf("point %d:%d: %w", e, to, redoubt.ErrNotFound), Hint: "it is not retained"}
	}
	if from == to {
		return map[redoubt.DiskID][]redoubt.Extent{}, nil
	}
	first, ok1 := s.catalog.FindSegment(id, e, from+1)
	last, ok2 := s.catalog.FindSegment(id, e, to)
	if !ok1 || !ok2 {
		return nil, &redoubt.Error{Op: "list changes of group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "it is not retained"}
	}
	return s.idx.Extents(ctx, index.Range{Series: seriesOf(&g, e), First: first.Ordinal, Last: last.Ordinal, From: from, To: to,
		WholeFirst: first.First == from+1, WholeLast: last.Last == to})
}
