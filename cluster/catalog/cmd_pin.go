package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// SetPin keeps a point, or changes when a pin of that name ends. A hold's end
// can only be put off: nothing ends it sooner, whoever asks. Result: nil.
//
// ErrNotFound if the point is not retained; ErrExists if the name belongs to
// another point or kind; ErrState for a hold that would end sooner.
type SetPin struct {
	Group redoubt.GroupID
	Pin   Pin
}

func (c SetPin) kind() kind { return kindSetPin }

func (c SetPin) encode(e *encoder) {
	e.str(string(c.Group))
	e.pin(c.Pin)
}

func (c SetPin) check() error {
	if err := redoubt.ValidName("pin", c.Pin.Name); err != nil {
		return err
	}
	if k := c.Pin.Kind; k < PinOperator || k > PinExport || c.Pin.Position.Epoch == 0 || c.Pin.Until < 0 || len(c.Pin.By) > maxAddr {
		return invalid("pin point of group", string(c.Group), "bad kind, position or end")
	}
	if c.Pin.Kind == PinHold && c.Pin.Until == 0 {
		return invalid("hold point of group", string(c.Group), "a hold needs an end")
	}
	return nil
}

func (c SetPin) apply(s *state) (any, error) {
	const op = "pin point of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	r := *s.retention(g.ID)
	p := c.Pin
	p.Position = g.Written(p.Position)
	if p.Over(r.Clock) {
		return nil, invalid(op, string(g.ID), "its end is past")
	}
	i, there := r.pin(p.Name)
	r.Pins = slices.Clone(r.Pins)
	switch {
	case there && (r.Pins[i].Kind != p.Kind || r.Pins[i].Position != p.Position):
		return nil, fail(op, string(g.ID), fmt.Errorf("%s %s is of point %s: %w", r.Pins[i].Kind, p.Name, r.Pins[i].Position, redoubt.ErrExists), "choose another name")
	case there && p.Kind == PinHold && p.Until < r.Pins[i].Until:
		return nil, fail(op, string(g.ID), fmt.Errorf("hold %s would end sooner: %w", p.Name, redoubt.ErrState), "the end of a hold can only be put off")
	case there:
		r.Pins[i].Until = p.Until
	case len(r.Pins) >= MaxPins:
		return nil, invalid(op, string(g.ID), fmt.Sprintf("it has %d pins already", MaxPins))
	default:
		if err := s.checkPoint(op, g, p.Position); err != nil {
			return nil, err
		}
		r.Pins = slices.Insert(r.Pins, i, p)
	}
	r.Gen++
	s.retain[g.ID] = &r
	return nil, nil
}

// RemovePin ends a pin. ErrState for a hold, which only its date ends. Result: nil.
type RemovePin struct {
	Group redoubt.GroupID
	Name  string
}

func (c RemovePin) kind() kind { return kindRemovePin }

func (c RemovePin) encode(e *encoder) {
	e.str(string(c.Group))
	e.str(c.Name)
}

func (c RemovePin) check() error { return redoubt.ValidName("pin", c.Name) }

func (c RemovePin) apply(s *state) (any, error) {
	const op = "unpin point of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	r := *s.retention(g.ID)
	i, there := r.pin(c.Name)
	if !there {
		return nil, fail(op, string(g.ID), fmt.Errorf("pin %s: %w", c.Name, redoubt.ErrNotFound), "redoubt retention show names the pins")
	}
	if r.Pins[i].Kind == PinHold {
		return nil, fail(op, string(g.ID), fmt.Errorf("%s is a hold: %w", c.Name, redoubt.ErrState), "it ends by its date alone")
	}
	r.Pins = slices.Delete(slices.Clone(r.Pins), i, i+1)
	r.Gen++
	s.retain[g.ID] = &r
	return nil, nil
}

func (r *Retention) pin(name string) (int, bool) {
	return slices.BinarySearchFunc(r.Pins, name, func(p Pin, n string) int { return strings.Compare(p.Name, n) })
}

// Written returns the position of the last write that p shows: the end of the
// parent epoch's part if p is where its own epoch begins.
func (g *Group) Written(p redoubt.Position) redoubt.Position {
	for _, st := range g.Lineage.Path(p) {
		if st.To > st.From {
			return redoubt.Position{Epoch: st.Epoch, LSN: st.To}
		}
	}
	return p
}

// checkPoint refuses what is no recovery point of the group.
func (s *state) checkPoint(op string, g *Group, p redoubt.Position) error {
	h := s.history(g.ID, p.Epoch)
	if n := h.len(); g.Baseline == 0 || p.LSN < g.Baseline || n == 0 || p.LSN > h.at(n-1).last || p.LSN < h.at(0).first {
		return fail(op, string(g.ID), fmt.Errorf("point %s: %w", p, redoubt.ErrNotFound), "redoubt points lists those that are there")
	}
	if err := s.visible(op, g, p); err != nil {
		return err
	}
	return s.retained(op, g, p)
}
