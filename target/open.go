package target

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/view"
)

// View opens the group at a committed position. ErrNotFound if there is no such
// recovery point; the hint says which there are.
func (s *Store) View(ctx context.Context, id redoubt.GroupID, p redoubt.Position) (*view.View, error) {
	return s.view(ctx, id, p, s.history.Check)
}

// view opens a position that check accepts.
func (s *Store) view(ctx context.Context, id redoubt.GroupID, p redoubt.Position, check func(*catalog.Group, redoubt.Position) error) (_ *view.View, err error) {
	g, err := s.group(id)
	if err != nil {
		return nil, err
	}
	// Before the check: a plan that takes the point away hears of one of them.
	release := s.leases.Take(id, p)
	defer func() {
		if err != nil {
			release()
		}
	}()
	if err := check(&g, p); err != nil {
		// The catalog may not have heard of it yet.
		if berr := s.node.Barrier(ctx); berr != nil {
			return nil, err
		}
		if g, err = s.group(id); err != nil {
			return nil, err
		}
		if err := check(&g, p); err != nil {
			return nil, err
		}
	}
	return s.views.Open(ctx, &g, p, release)
}
