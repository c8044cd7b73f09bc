package systest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/systest/lan"
)

// fault is a bad thing that lasts for a while.
type fault struct {
	node *site.Node // nobody else's meanwhile; nil: the network's
	over time.Time
	mend func()
}

// busy reports whether something is wrong with a node.
func (c *chaos) busy(n *site.Node) bool {
	return slices.ContainsFunc(c.active, func(f *fault) bool { return f.node == n })
}

// free returns a random node with which nothing is wrong, nil if there is none.
func (c *chaos) free(ns []*site.Node) *site.Node {
	ns = slices.DeleteFunc(slices.Clone(ns), c.busy)
	if len(ns) == 0 {
		return nil
	}
	return ns[c.rng.IntN(len(ns))]
}

// mend ends the faults that are over by then; the zero time ends all.
func (c *chaos) mend(now time.Time) {
	c.active = slices.DeleteFunc(c.active, func(f *fault) bool {
		if !now.IsZero() && now.Before(f.over) {
			return false
		}
		f.mend()
		return true
	})
}

// breakSomething lets something happen; at most two things are wrong at the same time.
func (c *chaos) breakSomething() {
	c.Helper()
	for _, n := range c.site.Nodes() {
		if !c.busy(n) {
			c.must(n.Check()) // nothing ends by itself
		}
	}
	if len(c.active) >= 2 {
		return
	}
	until := func(most time.Duration) time.Time {
		return time.Now().Add(time.Second + time.Duration(c.rng.Int64N(int64(most))))
	}
	if len(c.active) == 0 && c.rng.IntN(8) == 0 {
		c.wipe()
		return
	}
	switch k := c.rng.IntN(18); {
	case k < 5:
		c.kill(c.free(c.site.Targets), until(12*time.Second))
	case k < 7:
		c.kill(c.free([]*site.Node{c.site.Source}), until(4*time.Second))
	case k < 10:
		c.pause(c.free(c.site.Targets), until(29*time.Second))
	case k < 11:
		c.pause(c.free([]*site.Node{c.site.Source}), until(9*time.Second))
	default:
		c.partition(until(18 * time.Second))
	}
}

func (c *chaos) kill(n *site.Node, over time.Time) {
	if n == nil {
		return
	}
	n.Kill()
	c.count("killed", n)
	c.active = append(c.active, &fault{n, over, func() { c.must(n.Start()) }})
}

func (c *chaos) pause(n *site.Node, over time.Time) {
	if n == nil {
		return
	}
	c.must(n.Signal(syscall.SIGSTOP))
	c.count("paused", n)
	c.active = append(c.active, &fault{n, over, func() { c.must(n.Signal(syscall.SIGCONT)) }})
}

func (c *chaos) count(what string, n *site.Node) {
	role := "targets"
	if n == c.site.Source {
		role = "source"
	}
	c.counts[what+" "+role]++
	c.Logf("%s %s", what, n.Name)
}

// partition cuts or slows ways between hosts: between two, or between one and
// all others, in one direction or both.
func (c *chaos) partition(over time.Time) {
	if slices.ContainsFunc(c.active, func(f *fault) bool { return f.node == nil }) {
		return
	}
	hosts := c.hosts()
	c.rng.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	a, others := hosts[0], hosts[1:2]
	what := "two hosts"
	if c.rng.IntN(2) == 0 {
		others, what = hosts[1:], "one host"
	}
	w, how := lan.Way{Cut: true}, "cut off: "
	if c.rng.IntN(4) == 0 {
		w, how = lan.Way{Rate: 200 << 10, Delay: 30 * time.Millisecond}, "slow: "
	}
	direction := c.rng.IntN(3)
	for _, b := range others {
		if direction != 1 {
			c.net.Set(a, b, w)
		}
		if direction != 2 {
			c.net.Set(b, a, w)
		}
	}
	what = how + what + []string{", both ways", ", inwards", ", outwards"}[direction]
	c.counts[what]++
	c.Logf("%s (host %d)", what, a)
	c.active = append(c.active, &fault{nil, over, c.net.Heal})
}

// hosts are the places in the network where somebody lives.
func (c *chaos) hosts() []int {
	var out []int
	for i, h := range c.site.Hosts {
		for _, n := range c.site.Nodes() {
			if strings.HasPrefix(n.Addr, h.Addr+":") {
				out = append(out, i)
			}
		}
	}
	return out
}

// wipe takes a node with all that it stored, and a new one in its place: only
// while everything else is whole, because two nodes' shards are too many.
func (c *chaos) wipe() {
	c.Helper()
	if len(c.active) > 0 || c.counts["wiped targets"] >= spareHosts {
		return
	}
	at := c.site.Targets[c.rng.IntN(len(c.site.Targets))]
	gone := c.free(c.site.Targets)
	_, g, err := c.site.Status(c.ctx, at)
	if err != nil || gone == at || g.GetRedundancy().GetDegradedSegments() != 0 {
		return
	}
	gone.Kill()
	c.must(os.RemoveAll(filepath.Join(gone.Dir, "data")))
	c.count("wiped", gone)
	c.must(c.site.Forget(gone))
	c.replace(at, gone)
	// The source learns of the new nodes; when it starts anew, from its configuration.
	c.site.Source.Kill()
	c.must(c.site.Source.Start())
	c.healed(at, gone)
	c.Logf("%s is replaced and everything is whole", gone.Name)
}

// replace lets a new node take the place of one that is gone.
func (c *chaos) replace(at, gone *site.Node) {
	c.Helper()
	c.wait(at, gone.Name+" to be seen dead", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) error {
		for _, m := range st.Cluster {
			if m.Id == gone.Name && m.Alive {
				return fmt.Errorf("%s counts as alive", m.Id)
			}
		}
		return nil
	})
	n := c.add(at)
	c.until(func() bool { // on a busy machine the others seem away for a moment, and then it is refused
		err := c.site.Call(c.ctx, at, nil, "node", "replace", gone.Name, n.Name)
		if err != nil {
			c.Log(err)
		}
		return err == nil
	})
}

// weigh notes how much memory the daemons have.
func (c *chaos) weigh() {
	for _, n := range c.site.Nodes() {
		role := "target"
		if n == c.site.Source {
			role = "source"
		}
		c.memory[role] = max(c.memory[role], resident(n.Pid()))
	}
}

// resident returns the resident memory of a process in bytes, 0 if it is gone.
func resident(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	var total, pages int64
	if _, err := fmt.Sscan(string(b), &total, &pages); err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func (c *chaos) memoryText() string {
	var out []string
	for _, role := range slices.Sorted(maps.Keys(c.memory)) {
		out = append(out, fmt.Sprintf("%s %d MiB", role, c.memory[role]>>20))
	}
	return strings.Join(out, ", ")
}
