package catalog

// ForgetSets forgets the sets of bookmarks of which no point is left. CommitSet
// does that too, but takes the points of a deleted history for points that there
// are; what it does in a log must not change. Result: nil.
type ForgetSets struct{}

func (c ForgetSets) kind() kind      { return kindForgetSets }
func (c ForgetSets) encode(*encoder) {}
func (c ForgetSets) check() error    { return nil }

func (c ForgetSets) apply(s *state) (any, error) {
	s.dropSets(func(g *Group, m SetMember) bool { return known(g, m.Position.Epoch) })
	return nil, nil
}

// SetsFull reports whether there are MaxSets sets of bookmarks: then ForgetSets
// makes room, if there is any.
func (c *Catalog) SetsFull() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.s.sets) >= MaxSets
}
