package catalog

import (
	"bytes"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// PutRecoveryPlan keeps a plan's text under its name, or deletes the plan and
// its runs if Text is empty. The same text again changes nothing. Result: nil.
type PutRecoveryPlan struct {
	Name     string
	Text     []byte
	Replaces uint64 // version that it replaces; 0: any, or none
	By       string
	Now      int64
}

func (c PutRecoveryPlan) kind() kind { return kindPutRecoveryPlan }

func (c PutRecoveryPlan) encode(e *encoder) {
	e.str(c.Name)
	e.bytes(c.Text)
	e.uvar(c.Replaces)
	e.str(c.By)
	e.i64(c.Now)
}

func decodePutRecoveryPlan(d *decoder) Command {
	return PutRecoveryPlan{Name: d.str(maxName, "plan"), Text: d.bytes(MaxPlanText, "text"), Replaces: d.uvar(), By: d.str(maxAddr, "name"), Now: d.i64()}
}

func (c PutRecoveryPlan) check() error {
	if len(c.Text) > MaxPlanText || len(c.By) > maxAddr {
		return invalid("put plan", c.Name, fmt.Sprintf("%d bytes of text; at most %d", len(c.Text), MaxPlanText))
	}
	return redoubt.ValidName("plan", c.Name)
}

func (c PutRecoveryPlan) apply(s *state) (any, error) {
	old, ok := s.plans[c.Name]
	version := uint64(0)
	if ok {
		version = old.Version
	}
	if c.Replaces != 0 && c.Replaces != version {
		return nil, fail("put plan", c.Name, fmt.Errorf("its version is %d, not %d: %w", version, c.Replaces, redoubt.ErrExists), "somebody else changed it; look at it: redoubt plan show "+c.Name)
	}
	if len(c.Text) == 0 {
		return nil, s.deletePlan(c.Name)
	}
	if ok && bytes.Equal(old.Text, c.Text) {
		return nil, nil
	}
	if !ok && len(s.plans) >= MaxRecoveryPlans {
		return nil, fail("put plan", c.Name, fmt.Errorf("there are %d plans: %w", len(s.plans), redoubt.ErrState), "delete one: redoubt plan delete NAME")
	}
	next := RecoveryPlan{Name: c.Name}
	if ok {
		next = *old
	}
	next.Version, next.Text, next.By, next.At = version+1, c.Text, c.By, c.Now
	s.plans[c.Name] = &next
	return nil, nil
}

func (s *state) deletePlan(name string) error {
	if _, err := s.recoveryPlan(name, "delete plan"); err != nil {
		return err
	}
	runs := s.runsOf(name)
	for _, r := range runs {
		if r.Open() {
			return fail("delete plan", name, fmt.Errorf("run %s is %s: %w", r.ID(), r.State, redoubt.ErrState), "end it: redoubt plan cancel or cleanup "+r.ID())
		}
	}
	for _, r := range runs {
		delete(s.runs, r.key())
	}
	delete(s.plans, name)
	return nil
}

func (s *state) recoveryPlan(name, op string) (*RecoveryPlan, error) {
	if p, ok := s.plans[name]; ok {
		return p, nil
	}
	return nil, fail(op, name, redoubt.ErrNotFound, "redoubt plan list names the plans")
}
