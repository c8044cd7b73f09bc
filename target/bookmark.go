package target

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// maxMarks is how many bookmarks of one group are looked through or listed.
const maxMarks = catalog.MaxBookmarks

// positionOfBookmark finds the newest bookmark of that name on the history that
// leads to base.
func (s *Store) positionOfBookmark(g *catalog.Group, base redoubt.Position, name string) (redoubt.Position, error) {
	b, ok := s.newestMark(g, base, func(b *catalog.Bookmark) bool { return b.Name == name })
	if !ok {
		return redoubt.Position{}, noPoint(g, "bookmark "+name, redoubt.ErrNotFound, "redoubt points --bookmarks lists those that there are")
	}
	return b.Position, nil
}

// positionOfApp finds the newest application-consistent bookmark on the history
// that leads to base.
func (s *Store) positionOfApp(g *catalog.Group, base redoubt.Position) (redoubt.Position, error) {
	b, ok := s.newestMark(g, base, func(b *catalog.Bookmark) bool { return b.App })
	if !ok {
		return redoubt.Position{}, noPoint(g, "latest-app", redoubt.ErrNotFound,
			"no application-consistent bookmark is kept; redoubt bookmark GROUP NAME --app makes one, latest-crash is the newest point of all")
	}
	return b.Position, nil
}

// newestMark finds the newest bookmark that matches and whose point is there.
// It reads nothing but the catalog.
func (s *Store) newestMark(g *catalog.Group, base redoubt.Position, match func(*catalog.Bookmark) bool) (catalog.Bookmark, bool) {
	r, gaps := s.catalog.Retention(g.ID), s.catalog.Gaps(g.ID)
	there := func(b *catalog.Bookmark) bool {
		_, in := catalog.GapAt(gaps, b.Position)
		return match(b) && !in && b.Position.LSN >= g.Baseline && r.Has(b.Position)
	}
	for _, st := range g.Lineage.Path(base) {
		if bs := s.catalog.Bookmarks(g.ID, st, 1, there); len(bs) > 0 {
			return bs[0], true
		}
	}
	return catalog.Bookmark{}, false
}

// Bookmarks lists the bookmarks on the history that leads to the current state
// whose points are there, newest first, at most limit of them.
func (s *Store) Bookmarks(ctx context.Context, id redoubt.GroupID, limit int) (out []catalog.Bookmark, err error) {
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	r, gaps := s.catalog.Retention(id), s.catalog.Gaps(id)
	for _, st := range g.Lineage.Path(g.Committed) {
		out = append(out, s.catalog.Bookmarks(id, st, limit-len(out), func(b *catalog.Bookmark) bool {
			_, in := catalog.GapAt(gaps, b.Position)
			return !in && g.Baseline > 0 && b.Position.LSN >= g.Baseline && r.Has(b.Position)
		})...)
	}
	return out, nil
}

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
