package history

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

func noPoint(g *catalog.Group, what string, cause error, hint string) error {
	return &redoubt.Error{Op: "find point " + what + " of group", Object: string(g.ID), Err: cause, Hint: hint}
}

// Check refuses what is no recovery point.
func (h *History) Check(g *catalog.Group, p redoubt.Position) error {
	head, ok := h.o.Catalog.Head(g.ID, p.Epoch)
	switch {
	case !ok:
		return noPoint(g, p.String(), fmt.Errorf("no epoch %d: %w", p.Epoch, redoubt.ErrNotFound), fmt.Sprintf("the current epoch is %d", g.Epoch))
	case p.LSN > head:
		return noPoint(g, p.String(), fmt.Errorf("nothing is committed after %d:%d: %w", p.Epoch, head, redoubt.ErrNotFound), "")
	case g.Lineage.Path(p) == nil:
		f, _ := g.Lineage.Find(p.Epoch)
		return noPoint(g, p.String(), fmt.Errorf("epoch %d begins after LSN %d: %w", p.Epoch, f.At, redoubt.ErrNotFound), fmt.Sprintf("it may be %d:%d", f.Parent, p.LSN))
	case g.Baseline == 0:
		return noPoint(g, p.String(), fmt.Errorf("the first copy is not complete: %w", redoubt.ErrState), "there is no recovery point yet")
	case !h.retained(g, p):
		return noPoint(g, p.String(), fmt.Errorf("it is not retained: %w", redoubt.ErrNotFound), h.nearest(g, p))
	case p.LSN < g.Baseline:
		return noPoint(g, p.String(), fmt.Errorf("the first point is at LSN %d: %w", g.Baseline, redoubt.ErrNotFound), "the first copy was not complete before")
	}
	if gap, in := h.gapAt(g, p); in {
		return noPoint(g, p.String(), fmt.Errorf("it lies in a gap (%s): %w", gap.Cause, redoubt.ErrNotFound), gap.Hint())
	}
	return nil
}

// CheckStored refuses what is not stored; it need not be a recovery point.
func (h *History) CheckStored(g *catalog.Group, p redoubt.Position) error {
	head, ok := h.o.Catalog.Head(g.ID, p.Epoch)
	if !ok || p.LSN > head || g.Lineage.Path(p) == nil {
		return noPoint(g, p.String(), redoubt.ErrNotFound, "")
	}
	return nil
}

// retained reports whether retention has left the point.
func (h *History) retained(g *catalog.Group, p redoubt.Position) bool {
	r := h.o.Catalog.Retention(g.ID)
	return r.Has(g.Written(p))
}

// nearest names the retained points around p.
func (h *History) nearest(g *catalog.Group, p redoubt.Position) string {
	r := h.o.Catalog.Retention(g.ID)
	w := g.Written(p)
	t := r.Track(w.Epoch)
	if t.Horizon == catalog.NoPoint {
		return fmt.Sprintf("epoch %d has no point yet: the group was protected again, and its disks are being copied", w.Epoch)
	}
	next := redoubt.Position{Epoch: w.Epoch, LSN: t.Next(w.LSN)}
	for i := len(t.Points) - 1; i >= 0; i-- {
		if t.Points[i].LSN < w.LSN {
			return fmt.Sprintf("the points next to it are %d:%d and %s", w.Epoch, t.Points[i].LSN, next)
		}
	}
	return fmt.Sprintf("the next point is %s", next)
}

// gapAt returns the gap in which p lies, if it lies in one.
func (h *History) gapAt(g *catalog.Group, p redoubt.Position) (catalog.Gap, bool) {
	return catalog.GapAt(h.o.Catalog.Gaps(g.ID), g.Written(p))
}
