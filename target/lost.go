package target

import (
	"context"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/ship"
)

// lostIdentity reports whether a hello of the group's own host, which does not
// know the group's UUID any more, is for the same disks.
func lostIdentity(g *catalog.Group, peer pki.Identity, h *ship.Hello) bool {
	return !h.Reverse && peer == (pki.Identity{Role: pki.RoleSource, Name: g.Source}) && slices.Equal(h.Disks, g.Disks)
}

// lost says why what the source's journal has does not follow what is
// committed; "" if it may.
func (s *Store) lost(g *catalog.Group, h *ship.Hello) string {
	known := s.catalog.Binding(g.ID)
	switch {
	case known.Lost != "":
		return known.Lost
	case h.UUID != g.UUID:
		return "the source has lost its state and its journal"
	case known.Journal != "" && h.Journal != "" && known.Journal != h.Journal:
		return "the source's journal was lost: it has another one now"
	case h.Epoch != g.Epoch:
		return ""
	case h.Head < g.Committed.LSN:
		return fmt.Sprintf("the source's journal ends at LSN %d, before %d, which is stored: it is an old copy", h.Head, g.Committed.LSN)
	case h.Tail > g.Committed.LSN+1 && h.GivenUp+1 < h.Tail:
		return fmt.Sprintf("the source's journal begins at LSN %d, and what is stored ends at %d", h.Tail, g.Committed.LSN)
	}
	return ""
}

// checkJournal finds out whether the writer's journal is the one that was known,
// and puts into w what the source must do if it is not.
func (s *Store) checkJournal(ctx context.Context, g *catalog.Group, h *ship.Hello, w *ship.Welcome) error {
	if w.Compare = s.resyncFrom(g); !w.Compare.IsZero() && h.Epoch < g.Epoch {
		w.Reason = fmt.Sprintf("epoch %d begins with a comparison of the disks", g.Epoch)
		return nil // whatever its journal is: it begins anew
	}
	known := s.catalog.Binding(g.ID)
	reason := s.lost(g, h)
	switch {
	case reason == "" && known.Journal == "" && h.Journal != "" && h.Epoch == g.Epoch:
		_, err := s.node.Propose(ctx, catalog.BindJournal{Group: g.ID, Epoch: g.Epoch, Journal: h.Journal})
		return err
	case reason == "":
		return nil
	case known.Lost == "":
		if _, err := s.node.Propose(ctx, catalog.RequireResync{Group: g.ID, Epoch: g.Epoch, Reason: reason, Now: s.o.Now().UnixNano()}); err != nil {
			return err
		}
		s.o.Logger.Warn("a resynchronisation is needed", "group", g.ID, "why", reason)
	}
	w.Lost, w.Reason, w.State = reason, reason, catalog.StateResyncRequired.String()
	return nil
}

// resyncFrom returns the position whose content the source compares its disks
// with, zero if it does not.
func (s *Store) resyncFrom(g *catalog.Group) redoubt.Position {
	gap, open := s.catalog.OpenGapOf(g.ID, g.Epoch)
	f, ok := g.Lineage.Find(g.Epoch)
	if !open || !ok || gap.After != f.At || gap.Cause != catalog.GapResync {
		return redoubt.Position{}
	}
	return redoubt.Position{Epoch: f.Parent, LSN: f.At}
}

// Resync begins an epoch in which the group's source ships what differs from
// what is committed.
func (s *Store) Resync(ctx context.Context, id redoubt.GroupID) (catalog.Group, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return catalog.Group{}, err
	}
	g, err := s.group(id)
	if err != nil {
		return g, err
	}
	if _, err := s.node.Propose(ctx, catalog.BeginResync{Group: id, NewEpoch: g.Epoch + 1, Now: s.o.Now().UnixNano()}); err != nil {
		return g, err
	}
	s.o.Logger.Warn("a resynchronisation begins", "group", id, "epoch", g.Epoch+1, "from", g.Committed.String())
	return s.group(id)
}
