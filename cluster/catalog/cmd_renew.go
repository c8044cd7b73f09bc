package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// RenewGroup gives the name of a group whose points are deleted to another
// identity: it is CreateGroup, and nothing of before is taken for something of the
// new group, whose epochs begin again. It is a command of its own because nodes
// that do not know it must stop, and not judge it in another way. Result: the Group.
//
// ErrNotFound if there is no group of that name, and what CreateGroup refuses.
type RenewGroup CreateGroup

func (c RenewGroup) kind() kind        { return kindRenewGroup }
func (c RenewGroup) encode(e *encoder) { CreateGroup(c).encode(e) }
func (c RenewGroup) check() error      { return CreateGroup(c).check() }

func (c RenewGroup) apply(s *state) (any, error) {
	old, err := s.group("renew group", c.ID)
	if err != nil {
		return nil, err
	}
	g, err := CreateGroup(c).apply(s)
	if err == nil && old.UUID != c.UUID {
		delete(s.gaps, c.ID)
		delete(s.marks, c.ID)
		delete(s.checks, c.ID)
		delete(s.verified, c.ID)
		delete(s.bindings, c.ID)
		delete(s.jobs, c.ID)
	}
	return g, err
}

// Vacant returns nil if the group's name can go to another identity, or ErrExists.
func (c *Catalog) Vacant(id redoubt.GroupID) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, err := c.s.group("renew group", id)
	if err != nil || c.s.vacant(g) {
		return err
	}
	return taken(id)
}

func taken(id redoubt.GroupID) error {
	return fail("create group", string(id), fmt.Errorf("it belongs to another source: %w", redoubt.ErrExists),
		"choose another group name, or give this one up first: redoubt group unprotect --delete-points; a journal that was made anew counts as another source")
}
