package catalog

import (
	"cmp"
	"maps"
	"slices"
)

// RecoveryPlan returns the plan of this name.
func (c *Catalog) RecoveryPlan(name string) (RecoveryPlan, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if p, ok := c.s.plans[name]; ok {
		return *p, true
	}
	return RecoveryPlan{}, false
}

// RecoveryPlans returns all plans, by name.
func (c *Catalog) RecoveryPlans() []RecoveryPlan {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]RecoveryPlan, 0, len(c.s.plans))
	for _, name := range slices.Sorted(maps.Keys(c.s.plans)) {
		out = append(out, *c.s.plans[name])
	}
	return out
}

// Run returns a run of a plan.
func (c *Catalog) Run(plan string, number uint64) (Run, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if r, ok := c.s.runs[runKey{plan, number}]; ok {
		return *r, true
	}
	return Run{}, false
}

// Runs returns the runs of a plan that are kept, or of all if plan is empty, by
// plan and number.
func (c *Catalog) Runs(plan string) []Run {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Run
	for k, r := range c.s.runs {
		if plan == "" || k.plan == plan {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b Run) int { return cmp.Or(cmp.Compare(a.Plan, b.Plan), cmp.Compare(a.Number, b.Number)) })
	return out
}
