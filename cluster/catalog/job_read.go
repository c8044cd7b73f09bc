package catalog

import (
	"cmp"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Jobs returns the jobs of the group that are kept, the oldest first.
func (c *Catalog) Jobs(id redoubt.GroupID) []Job {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if js := c.s.jobs[id]; js != nil {
		return js.List
	}
	return nil
}

// Job returns a job of the group; ID 0 is the newest one.
func (c *Catalog) Job(id redoubt.GroupID, job uint64) (Job, bool) {
	js := c.Jobs(id)
	if job == 0 && len(js) > 0 {
		return js[len(js)-1], true
	}
	if i := slices.IndexFunc(js, func(j Job) bool { return j.ID == job }); i >= 0 {
		return js[i], true
	}
	return Job{}, false
}

// RunningJob returns the job of the group that is under way.
func (c *Catalog) RunningJob(id redoubt.GroupID) (Job, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if j := c.s.jobs[id].running(); j != nil {
		return *j, true
	}
	return Job{}, false
}

// RunningJobs returns the jobs of all groups that are under way, by group.
func (c *Catalog) RunningJobs() []Job {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Job
	for _, js := range c.s.jobs {
		if j := js.running(); j != nil {
			out = append(out, *j)
		}
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Compare(a.Group, b.Group) })
	return out
}

// NextJob is the ID of the next job of the group.
func (c *Catalog) NextJob(id redoubt.GroupID) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.nextJob(id)
}

// PlannedEpoch is the epoch that the group's last planned failover began; 0 if
// there was none.
func (c *Catalog) PlannedEpoch(id redoubt.GroupID) redoubt.Epoch {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if js := c.s.jobs[id]; js != nil {
		return js.Planned
	}
	return 0
}
