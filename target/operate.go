package target

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// Operate carries out Pause, Resume, Unprotect, Protect or DeletePoints on a
// group and returns it as it is then. ErrState if the group's state does not
// allow it.
func (s *Store) Operate(ctx context.Context, id redoubt.GroupID, op catalog.Operation, by, reason string) (catalog.Group, error) {
	if err := s.node.Barrier(ctx); err != nil {
		return catalog.Group{}, err
	}
	g, err := s.group(id)
	if err != nil {
		return g, err
	}
	if err := g.Permits(op); err != nil {
		return g, err
	}
	v, err := s.node.Propose(ctx, catalog.Operate{Group: id, Epoch: g.Epoch, Op: op, By: by, Reason: reason, Now: s.o.Now().UnixNano()})
	if err != nil {
		return g, err
	}
	after, ok := v.(catalog.Group)
	if !ok {
		return g, &redoubt.Error{Op: op.String() + " group", Object: string(id), Err: redoubt.ErrUnavailable}
	}
	s.o.Logger.Info("operation on a group", "group", id, "operation", op.String(), "by", by, "state", after.State.String(), "epoch", after.Epoch)
	return after, nil
}

// grant carries out what the operator of the group's source asked for, and
// brings g up to date. What is so already is granted: the answer may have been lost.
func (s *Store) grant(ctx context.Context, g *catalog.Group, a *ship.Ask) *ship.Answer {
	op, done, err := asked(g, a.Op)
	if err == nil && !done {
		by := fmt.Sprintf("%s at source/%s", a.By, g.Source)
		var after catalog.Group
		if after, err = s.Operate(ctx, g.ID, op, by, a.Reason); err == nil {
			*g = after
		}
	}
	if err == nil {
		return &ship.Answer{}
	}
	var re *redoubt.Error
	cause := err
	if errors.As(err, &re) && re.Err != nil {
		cause = re.Err
	}
	return &ship.Answer{Refused: cause.Error(), Hint: redoubt.Hint(err)}
}

// asked names the operation of an Ask, and says whether the group is as it asks already.
func asked(g *catalog.Group, what string) (op catalog.Operation, done bool, err error) {
	switch what {
	case ship.AskPause:
		return catalog.OpPause, g.State == catalog.StatePaused, nil
	case ship.AskResume:
		return catalog.OpResume, g.State != catalog.StatePaused && g.State != catalog.StateUnprotected, nil
	case ship.AskUnprotect:
		return catalog.OpUnprotect, g.State == catalog.StateUnprotected, nil
	case ship.AskProtect:
		return catalog.OpProtect, g.State != catalog.StateUnprotected, nil
	}
	return 0, false, &redoubt.Error{Op: "grant", Object: what, Err: redoubt.ErrInvalid}
}
