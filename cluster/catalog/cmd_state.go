package catalog

import (
	"github.com/redoubt-dr/redoubt"
)

// SetState carries out an operation that changes nothing but the state:
// PlannedFailover, which here begins the job (StateFailingOver) that a Promote
// ends. Result: the Group.
type SetState struct {
	Group redoubt.GroupID
	Epoch redoubt.Epoch // the current one
	Op    Operation
	Now   int64
}

func (c SetState) kind() kind { return kindSetState }

func (c SetState) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.u8(uint8(c.Op))
	e.i64(c.Now)
}

func (c SetState) check() error {
	if c.Op == OpPlannedFailover {
		return redoubt.ValidName("group", string(c.Group))
	}
	return invalid("set state of group", string(c.Group), c.Op.String()+" has a command of its own")
}

func (c SetState) apply(s *state) (any, error) {
	g, err := s.groupAt("set state of group", c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	if err := g.Permits(c.Op); err != nil {
		return nil, err
	}
	n := *g
	n.State, n.Prior = StateFailingOver, g.State
	n.settle()
	return s.put(&n), nil
}
