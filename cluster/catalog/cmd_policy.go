package catalog

import (
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// SetPolicy changes what is kept of a group. With Default it changes nothing
// where somebody has chosen a policy before. Result: nil.
type SetPolicy struct {
	Group   redoubt.GroupID
	Policy  Policy
	Default bool
}

func (c SetPolicy) kind() kind { return kindSetPolicy }

func (c SetPolicy) encode(e *encoder) {
	e.str(string(c.Group))
	e.policy(c.Policy)
	e.bool(c.Default)
}

func (c SetPolicy) check() error { return c.Policy.Validate() }

func (c SetPolicy) apply(s *state) (any, error) {
	if _, err := s.group("set retention policy of group", c.Group); err != nil {
		return nil, err
	}
	r := *s.retention(c.Group)
	if c.Default && r.Set || c.Policy.equal(r.Policy) && r.Set == !c.Default {
		return nil, nil
	}
	r.Policy, r.Set = c.Policy, !c.Default
	r.Gen++
	s.retain[c.Group] = &r
	return nil, nil
}

// AdvanceClock tells retention that it is To, Unix nanoseconds: never later
// than the newest committed write, so no clock of the secondary makes anything
// older than it is. A jump beyond ClockJump is refused with ErrState unless
// Confirm says that it is right. Pins that end by To are gone. Result: nil.
type AdvanceClock struct {
	Group   redoubt.GroupID
	To      int64
	Confirm bool
}

func (c AdvanceClock) kind() kind { return kindAdvanceClock }

func (c AdvanceClock) encode(e *encoder) {
	e.str(string(c.Group))
	e.i64(c.To)
	e.bool(c.Confirm)
}

func (c AdvanceClock) check() error { return redoubt.ValidName("group", string(c.Group)) }

func (c AdvanceClock) apply(s *state) (any, error) {
	const op = "advance the retention clock of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	if c.To > g.CommittedTime && !(c.Confirm && g.State == StateUnprotected) { // nothing is written there any more
		return nil, invalid(op, string(g.ID), "the newest committed write is older")
	}
	r := *s.retention(g.ID)
	if c.To <= r.Clock {
		return nil, nil
	}
	if r.Clock != 0 && c.To-r.Clock > ClockJump && !c.Confirm {
		return nil, fail(op, string(g.ID), fmt.Errorf("time went forward by %s at once: %w", time.Duration(c.To-r.Clock).Round(time.Second), redoubt.ErrState),
			"nothing is thinned until then: compare the clocks of source and secondary; if the time is right: redoubt retention confirm "+string(g.ID))
	}
	r.Clock = c.To
	r.Pins = slices.DeleteFunc(slices.Clone(r.Pins), func(p Pin) bool { return p.Over(c.To) })
	s.retain[g.ID] = &r
	return nil, nil
}
