package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

const (
	// MaxChecks is how many recovery checks of one group are remembered: the newest.
	MaxChecks = 32
	// MaxReceipt is the largest receipt of a check, in bytes.
	MaxReceipt = 32 << 10
)

// Check is a recovery check of a point.
type Check struct {
	ID       string           `json:"id"`
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"` // when it ended, Unix nanoseconds
	Script   string           `json:"script"`
	Node     redoubt.NodeID   `json:"node"`
	Passed   bool             `json:"passed"`
	RTO      int64            `json:"rto"` // nanoseconds from the request to the first byte of every disk
	Receipt  []byte           `json:"-"`   // signed; opaque to the catalog
}

// PutCheck attaches a recovery check to a point. The oldest of more than
// MaxChecks are forgotten; a check that is there already changes nothing. Result: nil.
type PutCheck struct {
	Group redoubt.GroupID
	Check Check
}

func (c PutCheck) kind() kind { return kindPutCheck }

func (c PutCheck) encode(e *encoder) {
	e.str(string(c.Group))
	e.check(&c.Check)
}

func (c PutCheck) check() error {
	if err := redoubt.ValidName("check", c.Check.ID); err != nil {
		return err
	}
	if err := redoubt.ValidName("script", c.Check.Script); err != nil {
		return err
	}
	if len(c.Check.Receipt) == 0 || len(c.Check.Receipt) > MaxReceipt || c.Check.Position.LSN == 0 || c.Check.RTO < 0 {
		return invalid("record check of group", string(c.Group), fmt.Sprintf("receipt of %d bytes, RTO %d", len(c.Check.Receipt), c.Check.RTO))
	}
	return nil
}

func (c PutCheck) apply(s *state) (any, error) {
	const op = "record check of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	if !known(g, c.Check.Position.Epoch) {
		return nil, invalid(op, string(g.ID), "position "+c.Check.Position.String())
	}
	cs := s.checks[g.ID]
	if slices.ContainsFunc(cs, func(k Check) bool { return k.ID == c.Check.ID }) {
		return nil, nil
	}
	cs = append(slices.Clone(cs), c.Check)
	s.checks[g.ID] = cs[max(0, len(cs)-MaxChecks):]
	return nil, nil
}

func (e *encoder) check(c *Check) {
	e.str(c.ID)
	e.pos(c.Position)
	e.i64(c.Time)
	e.str(c.Script)
	e.str(string(c.Node))
	e.bool(c.Passed)
	e.i64(c.RTO)
	e.bytes(c.Receipt)
}

func (d *decoder) checkValue() Check {
	return Check{ID: d.str(maxName, "check"), Position: d.pos(), Time: d.i64(), Script: d.str(maxName, "script"), Node: d.nodeID(),
		Passed: d.bool(), RTO: d.i64(), Receipt: d.bytes(MaxReceipt, "receipt")}
}

func (s *state) loadCheck(d *decoder) {
	c := PutCheck{Group: d.groupID(), Check: d.checkValue()}
	if d.err != nil {
		return
	}
	if s.groups[c.Group] == nil || c.check() != nil || len(s.checks[c.Group]) >= MaxChecks {
		d.bad("bad check")
		return
	}
	s.checks[c.Group] = append(s.checks[c.Group], c.Check)
}

// Checks returns the recovery checks of a group, the oldest first.
func (c *Catalog) Checks(id redoubt.GroupID) []Check {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.checks[id]
}
