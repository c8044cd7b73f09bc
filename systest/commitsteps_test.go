package systest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// commitStep is a point on the way of a delta at the secondary, and whether the
// owner of the group leads the cluster then.
type commitStep struct {
	point string
	leads bool
}

// victim is who passes the point.
func (s commitStep) victim(p parts) string {
	switch {
	case strings.HasPrefix(s.point, "target.delta."), s.point == "ship.delta.acked":
		return p.owner
	case s.point == "cluster.commit.received", strings.HasSuffix(s.point, ".leader"):
		return p.leader
	case s.leads:
		return p.third
	case strings.HasSuffix(s.point, ".follower"):
		return p.owner
	}
	return p.leader // target.shard.put: a peer of the owner
}

// agreed reports whether the cluster has agreed on the delta when the point is
// passed: it is committed then, whoever dies.
func (s commitStep) agreed() bool {
	return strings.HasPrefix(s.point, "cluster.commit.applied.") || s.point == "target.delta.committed" || s.point == "ship.delta.acked"
}

func (s commitStep) String() string {
	if s.leads {
		return s.point + ", the owner leads"
	}
	return s.point + ", another leads"
}

// parts says who plays which part; leader and owner may be one.
type parts struct{ leader, owner, third string }

// commitSteps chooses the steps of this run, in any order: every point once, or
// REDOUBT_STEPS=n of all, several times each if n is large; a prefix takes those
// that begin with it.
func commitSteps(b *bed) []commitStep {
	var all, out []commitStep
	for _, p := range crashpoint.CommitPoints() {
		all = append(all, commitStep{p, true}, commitStep{p, false})
	}
	want := os.Getenv("REDOUBT_STEPS")
	n, err := strconv.Atoi(want)
	switch {
	case want == "":
		for i := 0; i < len(all); i += 2 {
			out = append(out, all[i+b.rng.IntN(2)])
		}
		b.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:sized(len(out), 3)]
	case err != nil:
		out = slices.DeleteFunc(all, func(s commitStep) bool { return !strings.HasPrefix(s.point, want) })
	default:
		for len(out) < n {
			for _, i := range b.rng.Perm(len(all)) {
				out = append(out, all[i])
			}
		}
		out = out[:n]
	}
	b.Logf("%d of %d steps (REDOUBT_STEPS)", len(out), len(all))
	return out
}

// commitBed is a bed whose targets can be armed while they run.
type commitBed struct {
	*bed
	ordinals uint64        // of segments before the baseline, which are not listed
	marks    []redoubt.LSN // points around the deaths
}

// R3, R4, T3: owner, leader and followers die at each step of a commit, while the
// disks are written to. Each delta is committed once, all nodes agree, and what
// the source was told to be safe is.
func TestCommitSurvivesKillsAtEachStep(t *testing.T) {
	mix := oracle.DefaultMix()
	mix.MaxLen = 16 << 10
	c := &commitBed{bed: newBedWith(t, site.Options{}, mix, redoubt.Disk{ID: 1, Name: "a", Size: 6 << 20}, redoubt.Disk{ID: 2, Name: "b", Size: 2<<20 + 512})}
	for _, n := range c.site.Targets {
		n.Kill()
		n.Env = []string{crashpoint.EnvFile + "=" + c.order(n)}
	}
	for _, n := range c.site.Targets {
		c.must(n.Start())
	}
	c.change(20)
	c.committed(c.head().LSN)
	c.ordinals = c.agree()
	for todo := commitSteps(c.bed); len(todo) > 0; {
		p := c.parts()
		i := slices.IndexFunc(todo, func(s commitStep) bool { return s.leads == (p.owner == p.leader) })
		if i < 0 {
			c.handOver(p)
			continue
		}
		began := time.Now()
		how := c.dies(todo[i], p)
		t.Logf("%s: %s; %.1f s", todo[i], how, time.Since(began).Seconds())
		todo = slices.Delete(todo, i, i+1)
	}
	slices.Sort(c.marks) // the model goes forward
	for _, lsn := range slices.Compact(c.marks) {
		c.judgePoint(c.anyTarget(), redoubt.Position{Epoch: 1, LSN: lsn})
	}
	c.judgeSource()
}

// order is the file that arms the node.
func (c *commitBed) order(n *site.Node) string { return filepath.Join(c.dir, n.Name+".dies") }

func (c *commitBed) anyTarget() *site.Node { return c.site.Targets[c.rng.IntN(len(c.site.Targets))] }

// parts waits until all nodes are up and name the same leader and owner.
func (c *commitBed) parts() parts {
	c.Helper()
	var p parts
	for _, n := range c.site.Targets {
		c.wait(n, "a leader, and all nodes to be seen by "+n.Name, func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if p = (parts{leader: leader(st), owner: g.GetOwner()}); p.leader == "" || p.owner == "" {
				return fmt.Errorf("leader %q, owner %q", p.leader, p.owner)
			}
			for _, m := range st.Cluster {
				if !m.Alive {
					return fmt.Errorf("%s is not seen alive", m.Id)
				}
				if m.Id != p.leader && m.Id != p.owner {
					p.third = m.Id
				}
			}
			return nil
		})
	}
	return p
}

// handOver has another node lead.
func (c *commitBed) handOver(p parts) {
	c.Helper()
	n, err := c.site.Node(p.leader)
	c.must(err)
	c.must(n.Stop(patience))
	c.must(n.Start())
}

// dies arms the node that passes the step, writes until it has died there and for
// a while after, and judges what came of it. It returns what happened.
func (c *commitBed) dies(s commitStep, p parts) string {
	c.Helper()
	n, err := c.site.Node(s.victim(p))
	c.must(err)
	before := c.head()
	c.must(os.WriteFile(c.order(n)+".new", []byte(s.point), 0o600))
	c.must(os.Rename(c.order(n)+".new", c.order(n)))
	stop := c.paced()
	for deadline := time.Now().Add(patience); n.Alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("%s: %s does not pass it", s, n.Name)
		}
	}
	if _, err := os.Stat(c.order(n)); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(n.Check().Error(), "signal: killed") {
		c.Fatalf("%s: %s has ended elsewhere: %v, %v", s, n.Name, n.Check(), err)
	}
	safe := c.told() // nothing is shipped again before this: the others need longer to see what has happened
	c.must(c.site.Source.Signal(syscall.SIGSTOP))
	c.Cleanup(func() { _ = c.site.Source.Signal(syscall.SIGCONT) }) // what ends after a failure would wait for it
	soon := c.rng.IntN(3) != 0
	if !soon {
		c.replaced(n)
	} else {
		c.must(n.Start())
	}
	agreed := c.covers(s, n, safe, before.LSN)
	if !soon {
		c.must(n.Start())
	}
	c.must(c.site.Source.Signal(syscall.SIGCONT))
	after := c.head().LSN + 20
	c.until(func() bool { return c.head().LSN >= after })
	c.must(stop())
	c.anchor()
	c.committed(c.head().LSN)
	if got := c.agree(); got != c.ordinals {
		c.Fatalf("%s: %d segments are not listed, %d before: an ordinal is named twice, or not at all", s, got, c.ordinals)
	}
	c.judgePoint(c.other(n), redoubt.Position{Epoch: 1, LSN: min(agreed+1, c.head().LSN)})
	c.judgePoint(n, c.head())
	c.marks = append(c.marks, safe, agreed, before.LSN+redoubt.LSN(c.rng.Uint64N(uint64(c.head().LSN-before.LSN)+1)))
	return fmt.Sprintf("%s died between LSN %d and %d, started %s; %d was safe, %d committed", n.Name, before.LSN, c.head().LSN,
		map[bool]string{true: "at once", false: "when it was replaced"}[soon], safe, agreed)
}

// told is how far the source was told that its writes are safe.
func (c *commitBed) told() redoubt.LSN {
	c.Helper()
	_, g, err := c.site.Status(c.ctx, c.site.Source)
	c.must(err)
	return redoubt.LSN(g.GetCommitted().GetLsn())
}

// replaced waits until others lead and own.
func (c *commitBed) replaced(gone *site.Node) {
	c.Helper()
	c.wait(c.other(gone), gone.Name+" to be replaced", func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if l := leader(st); l == "" || l == gone.Name || g.GetOwner() == gone.Name {
			return fmt.Errorf("leader %q, owner %q", l, g.GetOwner())
		}
		return nil
	})
}

// covers holds that the cluster has, without the source's help, what the source
// was told, and what was committed after before when the node died. It returns
// what the cluster has.
func (c *commitBed) covers(s commitStep, gone *site.Node, safe, before redoubt.LSN) redoubt.LSN {
	c.Helper()
	var got redoubt.LSN
	want := safe
	if s.agreed() {
		want = max(safe, before+1)
	}
	for _, n := range c.site.Targets {
		if n == gone {
			continue
		}
		_, err := c.site.Wait(c.ctx, n, coverWait, fmt.Sprintf("LSN %d in the catalog of %s", want, n.Name), func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if got = redoubt.LSN(g.GetCommitted().GetLsn()); got < want {
				return fmt.Errorf("it ends at LSN %d", got)
			}
			return nil
		})
		if err != nil {
			c.Fatalf("%s: the source was told that LSN %d is safe; all was committed up to %d before: %v", s, safe, before, err)
		}
	}
	return got
}

// coverWait is how long the rest of a cluster needs at most to know all that it
// agreed on.
const coverWait = 15 * time.Second

// agree holds that all nodes list the same segments, each write in one of them, up
// to the head. It returns how many segments are not listed.
func (c *commitBed) agree() uint64 {
	c.Helper()
	var first []string
	var unlisted uint64
	for i, n := range c.site.Targets {
		g := c.wait(n, "the catalog of "+n.Name, func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if got := redoubt.LSN(g.GetCommitted().GetLsn()); got < c.head().LSN {
				return fmt.Errorf("it ends at LSN %d", got)
			}
			return nil
		})
		r := &adminv1.ListPointsResponse{}
		c.must(c.site.Call(c.ctx, n, r, "points", groupName, "--limit", "10000"))
		var list []string
		next := uint64(c.head().LSN) + 1
		for _, p := range r.Points { // the newest first
			if p.Position.Epoch != 1 || p.Position.Lsn != next-1 || p.FirstLsn > p.Position.Lsn {
				c.Fatalf("%s lists %d-%d in epoch %d, where LSN %d is next", n.Name, p.FirstLsn, p.Position.Lsn, p.Position.Epoch, next-1)
			}
			next = p.FirstLsn
			list = append(list, fmt.Sprint(p.FirstLsn, p.Position.Lsn, p.FirstTime.AsTime().UnixNano(), p.Time.AsTime().UnixNano(), p.StoredBytes))
		}
		if r.Truncated || next != g.BaselineLsn {
			c.Fatalf("%s lists points from LSN %d on, the baseline is %d", n.Name, next, g.BaselineLsn)
		}
		if i == 0 {
			first, unlisted = list, g.GetRedundancy().GetSegments()-uint64(len(list))
		}
		if !slices.Equal(list, first) || g.GetRedundancy().GetSegments()-uint64(len(list)) != unlisted {
			c.Fatalf("%s and %s list other segments:\n%v\n%v", c.site.Targets[0].Name, n.Name, first, list)
		}
	}
	return unlisted
}

// paced changes a little, again and again, until stop is called or a change fails.
func (c *commitBed) paced() (stop func() error) {
	cs := c.clients()
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan error, 1)
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			op := c.work.Next()
			err = op.Do(cs[op.Disk.ID])
			time.Sleep(3 * time.Millisecond) // the model replays it all
		}
		done <- err
	}()
	return func() error { cancel(); return <-done }
}
