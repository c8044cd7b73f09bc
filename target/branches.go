package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Branches returns the stretches of the group's history that are not on the way
// to its present, as far as there still are points on them.
func (s *Store) Branches(id redoubt.GroupID) ([]redoubt.Stretch, error) {
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	r := s.catalog.Retention(id)
	x := s.reachOf(&g, &r)
	_, all := lines(s, &g)
	var out []redoubt.Stretch
	for _, b := range all {
		if _, ok := x.first(b.Epoch, b.From+1, b.To); ok {
			out = append(out, b)
		}
	}
	return out, nil
}

// Writes calls fn for each change of a stretch of the history, in order, until
// fn returns false. ErrNotFound: retention has taken some of them away.
func (s *Store) Writes(ctx context.Context, id redoubt.GroupID, st redoubt.Stretch, fn func(*ship.Entry) bool) error {
	if st.To <= st.From {
		return nil
	}
	g, err := s.group(id)
	if err != nil {
		return err
	}
	sr := shards.SeriesOf(&g, st.Epoch)
	for lsn := st.From + 1; lsn <= st.To; {
		sg, ok := s.catalog.FindSegment(id, st.Epoch, lsn)
		if !ok || sg.Gone() {
			return notKept(id, st.Epoch, lsn)
		}
		last, more, err := s.writesOf(ctx, sr, sg.Ordinal, lsn, st.To, fn)
		if err != nil || !more {
			return err
		}
		lsn = last + 1
	}
	return nil
}

// writesOf does it for one segment, and returns its last LSN.
func (s *Store) writesOf(ctx context.Context, sr index.Series, ordinal uint64, from, to redoubt.LSN, fn func(*ship.Entry) bool) (last redoubt.LSN, more bool, err error) {
	sg, d, err := s.shards.SegmentHead(ctx, sr, ordinal)
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
