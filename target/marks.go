package target

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// nameMarks tells the catalog the bookmarks of a delta, before the delta is
// committed: so no committed bookmark is without its name.
func (s *Store) nameMarks(ctx context.Context, it *item) error {
	marks := s.marksIn(it)
	if len(marks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	_, err := s.node.Propose(ctx, catalog.AddMarks{Group: it.st.group, Marks: marks})
	return err
}

// marksPerDelta bounds the bookmarks of one delta; a source that makes more than
// a few a second has lost its mind.
const marksPerDelta = 1024

func (s *Store) marksIn(it *item) (out []catalog.Bookmark) {
	for i := range it.d.Entries {
		e := &it.d.Entries[i]
		if e.Kind != redoubt.KindBookmark || !e.HasData() {
			continue
		}
		b, err := bookmarkOf(it.d, e)
		if err == nil && len(out) == marksPerDelta {
			err = redoubt.ErrOutOfRange
		}
		if err != nil { // the point is as good as others, it has no name
			s.o.Logger.Warn("a bookmark cannot be read", "group", it.st.group, "lsn", e.LSN, "err", err)
			continue
		}
		out = append(out, catalog.Bookmark{Position: redoubt.Position{Epoch: it.d.Epoch, LSN: e.LSN},
			Time: min(max(e.Time, it.seg.FirstTime), it.seg.LastTime), Bookmark: b})
	}
	return out
}

// bookmarkOf reads a bookmark out of a whole delta.
func bookmarkOf(d *ship.Delta, e *ship.Entry) (redoubt.Bookmark, error) {
	ref := d.Blocks()[e.Block]
	raw, err := ship.InflateBlock(ref, d.Encoded()[ref.Off:][:ref.Len], nil)
	if err != nil {
		return redoubt.Bookmark{}, err
	}
	return redoubt.ParseBookmark(raw[e.BlockOff:][:e.DataLen])
}
