package history

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// positionOfBookmark finds the newest bookmark of that name on the history that
// leads to base.
func (h *History) positionOfBookmark(g *catalog.Group, base redoubt.Position, name string) (redoubt.Position, error) {
	b, ok := h.newestMark(g, base, func(b *catalog.Bookmark) bool { return b.Name == name })
	if !ok {
		return redoubt.Position{}, noPoint(g, "bookmark "+name, redoubt.ErrNotFound, "redoubt points --bookmarks lists those that there are")
	}
	return b.Position, nil
}

// positionOfApp finds the newest application-consistent bookmark on the history
// that leads to base.
func (h *History) positionOfApp(g *catalog.Group, base redoubt.Position) (redoubt.Position, error) {
	b, ok := h.newestMark(g, base, func(b *catalog.Bookmark) bool { return b.App })
	if !ok {
		return redoubt.Position{}, noPoint(g, "latest-app", redoubt.ErrNotFound,
			"no application-consistent bookmark is kept; redoubt bookmark GROUP NAME --app makes one, latest-crash is the newest point of all")
	}
	return b.Position, nil
}

// newestMark finds the newest bookmark that matches and whose point is there.
// It reads nothing but the catalog.
func (h *History) newestMark(g *catalog.Group, base redoubt.Position, match func(*catalog.Bookmark) bool) (catalog.Bookmark, bool) {
	r, gaps := h.o.Catalog.Retention(g.ID), h.o.Catalog.Gaps(g.ID)
	there := func(b *catalog.Bookmark) bool {
		_, in := catalog.GapAt(gaps, b.Position)
		return match(b) && !in && b.Position.LSN >= g.Baseline && r.Has(b.Position)
	}
	for _, st := range g.Lineage.Path(base) {
		if bs := h.o.Catalog.Bookmarks(g.ID, st, 1, there); len(bs) > 0 {
			return bs[0], true
		}
	}
	return catalog.Bookmark{}, false
}

// Bookmarks lists the bookmarks on the history that leads to the current state
// whose points are there, newest first, at most limit of them.
func (h *History) Bookmarks(ctx context.Context, id redoubt.GroupID, limit int) (out []catalog.Bookmark, err error) {
	if err := h.o.Cluster.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := h.Group(id)
	if err != nil {
		return nil, err
	}
	r, gaps := h.o.Catalog.Retention(id), h.o.Catalog.Gaps(id)
	for _, st := range g.Lineage.Path(g.Committed) {
		out = append(out, h.o.Catalog.Bookmarks(id, st, limit-len(out), func(b *catalog.Bookmark) bool {
			_, in := catalog.GapAt(gaps, b.Position)
			return !in && g.Baseline > 0 && b.Position.LSN >= g.Baseline && r.Has(b.Position)
		})...)
	}
	return out, nil
}
