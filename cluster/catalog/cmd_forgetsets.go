package catalog

import (
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// ForgetSets forgets the sets of bookmarks of which no point is left. CommitSet
// does that too, but takes the points of a deleted history for points that there
// are; what it does in a log must not change. Result: nil.
type ForgetSets struct{}

func (c ForgetSets) kind() kind      { return kindForgetSets }
func (c ForgetSets) encode(*encoder) {}
func (c ForgetSets) check() error    { return nil }

func (c ForgetSets) apply(s *state) (any, error) {
	maps.DeleteFunc(s.sets, func(_ redoubt.SetID, set *Set) bool {
		return !slices.ContainsFunc(set.Members, func(m SetMember) bool {
			g, ok := s.groups[m.Group]
			return ok && known(g, m.Position.Epoch) && s.retention(g.ID).Has(g.Written(m.Position))
		})
	})
	return nil, nil
}

// SetsFull reports whether there are MaxSets sets of bookmarks: then ForgetSets
// makes room, if there is any.
func (c *Catalog) SetsFull() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.s.sets) >= MaxSets
}
