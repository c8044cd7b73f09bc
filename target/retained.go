package target

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// retained reports whether retention has left the point.
func (s *Store) retained(g *catalog.Group, p redoubt.Position) bool {
	r := s.catalog.Retention(g.ID)
	return r.Has(g.Written(p))
}

// nearest names the retained points around p.
func (s *Store) nearest(g *catalog.Group, p redoubt.Position) string {
	r := s.catalog.Retention(g.ID)
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

// Retention returns what is kept of a group, and why it is not thinned at
// present, if it is not, as far as this node knows: only the owner thins.
func (s *Store) Retention(id redoubt.GroupID) (r catalog.Retention, stuck error, err error) {
	if _, err := s.group(id); err != nil {
		return r, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalog.Retention(id), s.stuck[id], nil
}

// marksKept returns the new bookmarks that stay.
func (o *outlook) marksKept(changes []catalog.TrackChange) (out []catalog.Mark) {
	for _, m := range o.marks {
		for i := range changes {
			if c := &changes[i]; c.Epoch == m.Position.Epoch && m.Position.LSN < c.Horizon {
				for _, k := range c.Keep {
					if k.LSN == m.Position.LSN {
						out = append(out, m)
					}
				}
			}
		}
	}
	return out
}

// ConfirmClock says that the time of the newest write is right, however far it
// is from the one before, and returns what retention reckons with from now on.
func (s *Store) ConfirmClock(ctx context.Context, id redoubt.GroupID) (time.Time, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return time.Time{}, err
	}
	g, err := s.group(id)
	if err != nil {
		return time.Time{}, err
	}
	to := s.retentionNow(&g)
	_, err = s.node.Propose(ctx, catalog.AdvanceClock{Group: id, To: to, Confirm: true})
	return time.Unix(0, to), err
}
