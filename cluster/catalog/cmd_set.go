package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// CommitSet makes the bookmarks of a set exist, all of them at once. Until then
// they are in their groups' histories and nobody sees them. Result: nil.
//
// ErrExists if the set is known and differs.
type CommitSet struct{ Set Set }

func (c CommitSet) kind() kind { return kindCommitSet }

func (c CommitSet) encode(e *encoder) { e.set(&c.Set) }

func (c CommitSet) check() error {
	const op = "commit set of bookmarks"
	if err := redoubt.ValidName("bookmark", c.Set.Name); err != nil {
		return err
	}
	ms := c.Set.Members
	if c.Set.ID.IsZero() || len(ms) == 0 || len(ms) > MaxMembers || c.Set.Barrier < 0 {
		return invalid(op, c.Set.Name, fmt.Sprintf("%d groups, barrier %d", len(ms), c.Set.Barrier))
	}
	for i := range ms {
		if i > 0 && ms[i].Group <= ms[i-1].Group || ms[i].Position.LSN == 0 {
			return invalid(op, c.Set.Name, "groups that do not rise, or no position")
		}
	}
	return nil
}

func (c CommitSet) apply(s *state) (any, error) {
	const op = "commit set of bookmarks"
	if old, ok := s.sets[c.Set.ID]; ok {
		if old.Name != c.Set.Name || !slices.Equal(old.Members, c.Set.Members) {
			return nil, fail(op, c.Set.Name, redoubt.ErrExists, "")
		}
		return nil, nil
	}
	for _, m := range c.Set.Members {
		g, err := s.group(op, m.Group)
		if err != nil {
			return nil, err
		}
		// A failover in between may have left the member on no history.
		if g.Epoch != m.Position.Epoch {
			return nil, fail(op, c.Set.Name, fmt.Errorf("group %s is at epoch %d, its bookmark at %s: %w", g.ID, g.Epoch, m.Position, redoubt.ErrFenced), "the group has failed over meanwhile; try again")
		}
	}
	if len(s.sets) >= MaxSets {
		s.dropSets(func(*Group, SetMember) bool { return true })
	}
	if len(s.sets) >= MaxSets {
		return nil, fail(op, c.Set.Name, fmt.Errorf("there are %d sets: %w", len(s.sets), redoubt.ErrState), "shorten the retention of bookmarks: their sets go with the last of their points")
	}
	set := c.Set
	set.Members = slices.Clone(set.Members)
	s.sets[set.ID] = &set
	return nil, nil
}

// dropSets forgets the sets of which no point is left, of those that may have some.
func (s *state) dropSets(may func(g *Group, m SetMember) bool) {
	maps.DeleteFunc(s.sets, func(_ redoubt.SetID, set *Set) bool {
		return !slices.ContainsFunc(set.Members, func(m SetMember) bool {
			g, ok := s.groups[m.Group]
			return ok && may(g, m) && s.retention(g.ID).Has(g.Written(m.Position))
		})
	})
}
