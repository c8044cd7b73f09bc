package systest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// crashPoints lists every point of every job, from the table of steps, so that
// none is forgotten.
func crashPoints() []string {
	out := crashpoint.Points()
	for _, k := range catalog.JobKinds() {
		for _, when := range []string{"before", "after"} {
			out = append(out, crashpoint.Step(k.String(), "begin", when))
		}
		steps := k.Steps()
		if k != catalog.JobPlanned && k != catalog.JobFailback {
			steps = steps[1:] // the first one is part of the beginning
		}
		for _, st := range steps {
			for _, when := range crashpoint.Moments() {
				out = append(out, crashpoint.Step(k.String(), st.String(), when))
			}
		}
	}
	return out
}

// crashes chooses the points of this run: REDOUBT_CRASHES=n takes n of them,
// several times each if n is large; a prefix takes those that begin with it.
func crashes(b *bed) []string {
	all, want := crashPoints(), os.Getenv("REDOUBT_CRASHES")
	n, err := strconv.Atoi(want)
	switch {
	case want == "":
		n = sized(6, 3)
	case err != nil:
		all = slices.DeleteFunc(all, func(p string) bool { return !strings.HasPrefix(p, want) })
		n = len(all)
	}
	var out []string
	for len(out) < n {
		for _, i := range b.rng.Perm(len(all)) {
			out = append(out, all[i])
		}
	}
	b.Logf("%d of %d points (REDOUBT_CRASHES): %v", n, len(all), out[:n])
	return out[:n]
}

// crashBed goes round the life cycle, again and again, while one process is
// armed to die at a point.
type crashBed struct {
	*bed
	prod  *site.Node
	epoch redoubt.Epoch // of the source
	ran   func(string) bool
	died  int
}

// Each job, with a kill -9 at each of its points: running on or again ends in
// the same state, and no write is lost.
func TestJobsSurviveKills(t *testing.T) {
	c := &crashBed{bed: newBed(t), epoch: 1}
	c.prod = c.site.Targets[1]
	c.ran = c.hook("sleep 0.3")
	for _, p := range crashes(c.bed) {
		began := time.Now()
		// If a step is over before the driver has come to it, that does not pass its
		// points, and it is tried again.
		for try := 0; !c.survives(p); try++ {
			if try == 5 {
				t.Fatalf("%s: no process passes it", p)
			}
		}
		t.Logf("%s: %.1f s", p, time.Since(began).Seconds())
	}
}

// survives arms the process that passes the point, goes round, and reports
// whether it died.
func (c *crashBed) survives(point string) bool {
	c.Helper()
	victim := c.prod
	if strings.HasPrefix(point, "source.") {
		victim = c.site.Source
	}
	c.died = 0
	c.arm(victim, crashpoint.Env+"="+point)
	c.change(20)
	switch {
	case strings.HasPrefix(point, "source.resume"):
		c.calledOff()
	case strings.HasPrefix(point, "job.unplanned"), strings.HasPrefix(point, "job.change"), strings.HasPrefix(point, "job.cancel"):
		c.thereAndBack()
	default:
		if strings.HasPrefix(point, "job.planned-failover.ship") {
			defer c.hold(c.site.Source, time.Second)()
		}
		c.roundTrip()
	}
	c.revive()
	if c.died > 1 {
		c.Fatalf("%s: %d processes died, want the one that was armed", point, c.died)
	}
	return c.died == 1
}

// hold stops a node for a while: a source that is fast ends a step before the
// driver has come to it. The test may go on when the function that it returns has.
func (c *crashBed) hold(n *site.Node, d time.Duration) (end func()) {
	c.Helper()
	c.must(n.Signal(syscall.SIGSTOP))
	over := make(chan error)
	go func() {
		time.Sleep(d)
		over <- n.Signal(syscall.SIGCONT)
	}()
	return func() { c.must(<-over) }
}

// arm starts a node anew with the variables.
func (c *crashBed) arm(n *site.Node, env ...string) {
	c.Helper()
	n.Kill()
	n.Env = env
	c.must(n.Start())
	c.up()
}

// revive starts what has died, without the point.
func (c *crashBed) revive() {
	c.Helper()
	for _, n := range c.site.Nodes() {
		if !n.Alive() {
			c.died++
			n.Env = nil
			c.must(n.Start())
		}
	}
}

// up waits until the source serves and ships, and all nodes see each other.
func (c *crashBed) up() {
	c.Helper()
	c.wait(c.site.Targets[0], "all nodes", func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
		for _, n := range st.Cluster {
			if !n.Alive {
				return fmt.Errorf("%s is not seen alive", n.Id)
			}
		}
		return nil
	})
	c.wait(c.site.Source, "the source to serve and ship", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" || !g.GetLink().GetConnected() {
			return errors.New("not yet")
		}
		return nil
	})
	c.relay.Resume()
}

// reach runs a command, again and again, until the group is as it should be.
func (c *crashBed) reach(what string, ok func(*adminv1.Group) bool, args ...string) *adminv1.Group {
	c.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		c.revive()
		_, g, err := c.site.Status(c.ctx, c.prod)
		if err == nil && ok(g) {
			return g
		}
		if time.Now().After(deadline) {
			c.Fatalf("waited for %s: state %s epoch %d writer %s job %v: %v", what, g.GetState(), g.GetEpoch(), g.GetWriter(), g.GetJob(), err)
		}
		if len(args) > 0 && err == nil && g.GetJob() == nil {
			// Whoever asks gives up soon: what has died is started in between, and the job goes on.
			ctx, cancel := context.WithTimeout(c.ctx, 4*time.Second)
			if err := c.site.Call(ctx, c.prod, nil, append(args, "--timeout", "3s")...); err != nil {
				c.Logf("%v: %v", args, err)
			}
			cancel()
			continue
		}
		time.Sleep(50 * time.Millisecond) // the operator's view can only be polled
	}
}

func isExported(g *adminv1.Group) bool {
	return g.Job == nil && g.State == "FailoverCommitPending" && len(g.Disks) > 0 && g.Disks[0].Socket != ""
}

// roundTrip is a planned failover and the way back.
func (c *crashBed) roundTrip() {
	c.Helper()
	head := redoubt.Position{Epoch: c.epoch, LSN: c.model.Head(c.epoch)}
	g := c.reach("the planned failover", isExported, "failover", "planned", groupName, "--node", c.prod.Name)
	c.at(g, head)
	c.judge(g.Disks, head)
	c.must(c.model.Fork(c.epoch+1, head))
	relay := c.use(c.epoch+1, g.Disks)
	c.overwrite(relay, 20)
	c.reach("the commit", func(g *adminv1.Group) bool { return g.State == "FailedOver" || g.State == "ReverseReplicating" }, "failover", "commit", groupName)
	c.reach("the way back", func(g *adminv1.Group) bool { return g.GetReverse().GetInSync() && g.Job == nil })
	g = c.reach("the failback", func(g *adminv1.Group) bool { return g.State == "Protected" && g.Job == nil }, "failback", groupName)
	c.must(relay.Close())
	f := g.Lineage[len(g.Lineage)-1]
	if drift, err := c.model.Anchor(c.epoch+1, redoubt.LSN(f.At)); err != nil {
		c.Fatalf("failed back at %v: drift %d: %v", f, drift, err)
	}
	c.home(g, redoubt.Position{Epoch: c.epoch + 1, LSN: redoubt.LSN(f.At)})
}

// thereAndBack is an unplanned failover while the source lives, another point, and
// the cancel.
func (c *crashBed) thereAndBack() {
	c.Helper()
	head := redoubt.Position{Epoch: c.epoch, LSN: c.model.Head(c.epoch)}
	c.committed(head.LSN)
	g := c.reach("the failover", isExported, "failover", "unplanned", groupName)
	c.at(g, head)
	c.judge(g.Disks, head)
	first := g.Epoch
	other := redoubt.Position{Epoch: c.epoch, LSN: head.LSN - 10}
	g = c.reach("another point", func(g *adminv1.Group) bool { return isExported(g) && g.Epoch > first }, "failover", "change", groupName, "--at", other.String())
	c.at(g, other)
	c.judge(g.Disks, other)
	g = c.reach("the cancel", func(g *adminv1.Group) bool { return g.State == "Protected" && g.Job == nil }, "failover", "cancel", groupName)
	c.home(g, head)
}

// calledOff is a planned failover that is cancelled when the writers are stopped.
func (c *crashBed) calledOff() {
	c.Helper()
	r := &adminv1.PlannedFailoverResponse{}
	c.must(c.site.Call(c.ctx, c.prod, r, "failover", "planned", groupName, "--no-wait", "--node", c.prod.Name))
	c.until(func() bool { return c.said("planned failover: the disks take no writes") > 0 || c.froze(r.Job.Id) })
	c.must(c.prod.Signal(syscall.SIGSTOP)) // it drives the job: nothing is promoted
	c.wait(c.site.Source, "the source to be stopped", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetState() != "Quiesced" {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	c.until(func() bool {
		return c.site.Call(c.ctx, c.site.Targets[0], nil, "failover", "cancel", groupName) == nil
	})
	c.until(func() bool { return !c.site.Source.Alive() })
	c.must(c.prod.Signal(syscall.SIGCONT))
	c.revive()
	c.writable(c.epoch)
	c.up()
	c.reach("the end of the job", func(g *adminv1.Group) bool { return g.State == "Protected" && g.Job == nil })
	c.judgeHome()
}

// froze reports whether the hook was asked to freeze for the job.
func (c *crashBed) froze(job uint64) bool {
	b, err := os.ReadFile(c.dir + "/hook.log")
	return err == nil && strings.Contains(string(b), fmt.Sprintf("freeze %s %d\n", groupName, job))
}

// at checks which point the group was promoted at.
func (c *crashBed) at(g *adminv1.Group, want redoubt.Position) {
	c.Helper()
	got := g.GetPromotion().GetPosition()
	if got.GetEpoch() != uint64(want.Epoch) || got.GetLsn() != uint64(want.LSN) {
		c.Fatalf("promoted at %v, want %s", got, want)
	}
}

// home waits until the source writes in the group's epoch, with what it had at p,
// and puts a new relay before it.
func (c *crashBed) home(g *adminv1.Group, p redoubt.Position) {
	c.Helper()
	if f := g.Lineage[len(g.Lineage)-1]; f.Epoch != g.Epoch || f.Parent != uint64(p.Epoch) || f.At != uint64(p.LSN) {
		c.Fatalf("epoch %d goes on from %d:%d, want %s", g.Epoch, f.Parent, f.At, p)
	}
	deadline := time.Now().Add(2 * patience)
	for {
		c.revive()
		_, s, err := c.site.Status(c.ctx, c.site.Source)
		if err == nil && !s.ReadOnly && s.Epoch == g.Epoch && len(s.Disks) > 0 && s.Disks[0].Socket != "" {
			c.judge(s.Disks, p)
			c.must(c.relay.Close())
			c.epoch = redoubt.Epoch(g.Epoch)
			c.must(c.model.Fork(c.epoch, p))
			c.relay = c.use(c.epoch, s.Disks)
			break
		}
		if time.Now().After(deadline) {
			c.Fatalf("the source does not write: %v %v", s, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.up()
	c.change(5)
}

// judgeHome compares the source's disks with its last write.
func (c *crashBed) judgeHome() {
	c.Helper()
	_, g, err := c.site.Status(c.ctx, c.site.Source)
	c.must(err)
	c.judge(g.Disks, redoubt.Position{Epoch: c.epoch, LSN: c.model.Head(c.epoch)})
}
