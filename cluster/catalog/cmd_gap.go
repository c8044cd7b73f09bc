package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// OpenGap says that what the writer ships from here on is no longer every
// write: there is no recovery point after what is committed, until a segment
// with a Baseline closes the gap. A protected group is Resyncing meanwhile. An
// open gap of the epoch stays as it is. Result: the Group.
//
// ErrFenced: the epoch or the owner term is over. ErrGap: something was
// committed after After.
type OpenGap struct {
	Group     redoubt.GroupID
	Epoch     redoubt.Epoch
	OwnerTerm uint64
	After     redoubt.LSN // what is committed
	Cause     GapCause
	Now       int64
}

func (c OpenGap) kind() kind { return kindOpenGap }

func (c OpenGap) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.uvar(c.OwnerTerm)
	e.lsn(c.After)
	e.u8(uint8(c.Cause))
	e.i64(c.Now)
}

func decodeOpenGap(d *decoder) Command {
	return OpenGap{Group: d.groupID(), Epoch: d.epoch(), OwnerTerm: d.uvar(), After: d.lsn(), Cause: GapCause(d.u8()), Now: d.i64()}
}

func (c OpenGap) check() error {
	if c.Epoch == 0 || c.Cause != GapOverflow && c.Cause != GapResync {
		return invalid("open gap of group", string(c.Group), "bad epoch or cause")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c OpenGap) apply(s *state) (any, error) {
	const op = "open gap of group"
	g, err := s.groupAt(op, c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	switch {
	case c.OwnerTerm != g.OwnerTerm:
		return nil, fail(op, string(g.ID), fmt.Errorf("owner term %d, the present one is %d: %w", c.OwnerTerm, g.OwnerTerm, redoubt.ErrFenced),
			"the group's stream belongs to node "+string(g.Owner))
	case s.openGap(g.ID, c.Epoch) >= 0:
		return *g, nil
	case c.After != g.Committed.LSN:
		return nil, fail(op, string(g.ID), fmt.Errorf("after LSN %d, what is committed ends at %d: %w", c.After, g.Committed.LSN, redoubt.ErrGap), "")
	}
	s.addGap(g.ID, Gap{Epoch: c.Epoch, After: c.After, Since: g.CommittedTime, Opened: c.Now, Cause: c.Cause})
	n := *g
	n.catchUp(StateProtected, StateResyncing)
	return s.put(&n), nil
}

// catchUp moves the group from one state to the other, also under a pause or a
// job that is under way.
func (g *Group) catchUp(from, to State) {
	if g.State == from {
		g.State = to
	}
	if g.Prior == from {
		g.Prior = to
	}
}

func (e *encoder) gaps(list []Gap) {
	e.uvar(uint64(len(list)))
	for _, g := range list {
		e.uvar(uint64(g.Epoch))
		e.lsn(g.After)
		e.lsn(g.Whole)
		e.i64(g.Since)
		e.i64(g.Until)
		e.i64(g.Opened)
		e.u8(uint8(g.Cause))
	}
}

func (d *decoder) gaps() (out []Gap) {
	var last redoubt.Position
	for range d.count(maxLineage, "number of gaps") {
		g := Gap{Epoch: d.epoch(), After: d.lsn(), Whole: d.lsn(), Since: d.i64(), Until: d.i64(), Opened: d.i64(), Cause: GapCause(d.u8())}
		at := redoubt.Position{Epoch: g.Epoch, LSN: g.After}
		if g.Epoch == 0 || at.Compare(last) < 0 || g.Whole != 0 && g.Whole <= g.After || len(out) > 0 && out[len(out)-1].Epoch == g.Epoch && out[len(out)-1].Open() {
			d.bad("bad gap")
			return nil
		}
		out, last = append(out, g), at
	}
	return out
}
