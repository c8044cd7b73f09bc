package systest

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// S1 and the promise that kill -9 costs no resynchronisation.
func TestSourceKilledAgainAndAgain(t *testing.T) {
	b := newBed(t)
	_, before, err := b.site.Status(b.ctx, b.site.Targets[0])
	b.must(err)
	var lives []redoubt.Position
	for i := range sized(20, 4) {
		b.killUnderLoad(redoubt.LSN(50 + b.rng.IntN(400)))
		b.must(b.site.Source.Start())
		g := b.wait(b.site.Source, "the source to serve again", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
				return errors.New("no disk yet")
			}
			return nil
		})
		if g.Epoch != before.Epoch || !g.GetCopy().GetComplete() {
			t.Fatalf("life %d: epoch %d, copy %v: something was done again", i, g.Epoch, g.Copy)
		}
		b.anchor()
		b.relay.Resume()
		b.judgeSource()
		lives = append(lives, b.head())
	}
	b.change(50)
	b.safe()
	_, after, err := b.site.Status(b.ctx, b.site.Targets[0])
	b.must(err)
	if after.Epoch != before.Epoch || after.BaselineLsn != before.BaselineLsn {
		t.Fatalf("epoch %d, baseline %d became %d, %d: the disks were copied again", before.Epoch, before.BaselineLsn, after.Epoch, after.BaselineLsn)
	}
	for _, p := range append(lives, b.head()) {
		b.judgePoint(b.site.Targets[0], p)
	}
}

// R1: any one target may die, the leader and the owner too.
func TestAnyTargetKilled(t *testing.T) {
	b := newBed(t)
	b.change(200)
	early := b.head()
	b.committed(early.LSN)
	for _, victim := range []struct {
		what string
		pick func(*adminv1.GetStatusResponse, *adminv1.Group) string
	}{
		{"the owner", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) string { return g.Owner }},
		{"the leader", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) string { return leader(st) }},
		{"neither", func(st *adminv1.GetStatusResponse, g *adminv1.Group) string {
			for _, n := range st.Cluster {
				if n.Id != g.Owner && n.Id != leader(st) {
					return n.Id
				}
			}
			return st.Cluster[0].Id
		}},
	} {
		any, err := b.site.AnyTarget()
		b.must(err)
		st, g, err := b.site.Status(b.ctx, any)
		b.must(err)
		n, err := b.site.Node(victim.pick(st, g))
		b.must(err)
		stop := b.background()
		n.Kill()
		at, began := b.head().LSN, time.Now()
		b.committed(at + 1)
		t.Logf("%s (%s) killed: replication went on after %.1f s", victim.what, n.Name, time.Since(began).Seconds())
		b.must(stop())
		p := b.head()
		b.committed(p.LSN)
		other := b.other(n)
		b.judgePoint(other, early)
		b.judgePoint(other, p)
		b.must(n.Start())
		b.whole(n)
	}
}

// whole waits until a returned target has caught up and no segment lacks a shard.
func (b *bed) whole(n *site.Node) {
	b.Helper()
	b.wait(n, n.Name+" to catch up", func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g == nil {
			return errors.New("it does not know the group yet")
		}
		if d := g.GetRedundancy().GetDegradedSegments(); d != 0 {
			return fmt.Errorf("%d segments lack a shard", d)
		}
		for _, c := range st.Cluster {
			if !c.Alive {
				return fmt.Errorf("%s is not seen alive", c.Id)
			}
		}
		return nil
	})
}

func (b *bed) other(not *site.Node) *site.Node {
	for _, n := range b.site.Targets {
		if n != not {
			return n
		}
	}
	return nil
}

// until polls a condition of this process; the test's deadline bounds it.
func (b *bed) until(ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatal("the load does not get on")
		}
		time.Sleep(time.Millisecond)
	}
}

func leader(st *adminv1.GetStatusResponse) string {
	for _, n := range st.Cluster {
		if n.Leader {
			return n.Id
		}
	}
	return ""
}

// The whole second site goes down at once and comes back: the source goes on
// meanwhile, ships what it kept, and every point is as it was.
func TestSecondSiteGoesDown(t *testing.T) {
	b := newBed(t)
	b.change(300)
	early := b.head()
	b.committed(early.LSN)
	for range sized(3, 1) {
		stop := b.background()
		for _, n := range b.site.Targets {
			n.Kill()
		}
		at := b.head().LSN
		b.until(func() bool { return b.head().LSN > at+300 }) // writes go on
		for _, n := range b.site.Targets {
			b.must(n.Start())
		}
		b.committed(at + 300)
		b.must(stop())
		p := b.head()
		b.committed(p.LSN)
		b.whole(b.site.Targets[0])
		b.judgePoint(b.site.Targets[b.rng.IntN(3)], early)
		b.judgePoint(b.site.Targets[b.rng.IntN(3)], p)
	}
	b.judgeSource()
}

// A node that hangs is worse than one that dies: its connections stay open. The
// owner is stopped under load, replaced, and goes on later without harm.
func TestOwnerHangs(t *testing.T) {
	b := newBed(t)
	b.change(200)
	early := b.head()
	b.committed(early.LSN)
	_, g, err := b.site.Status(b.ctx, b.site.Targets[0])
	b.must(err)
	owner, err := b.site.Node(g.Owner)
	b.must(err)
	stop := b.background()
	b.must(owner.Signal(syscall.SIGSTOP))
	at, began := b.head().LSN, time.Now()
	b.committed(at + 50)
	t.Logf("the owner (%s) hung: replication went on after %.1f s", owner.Name, time.Since(began).Seconds())
	b.must(owner.Signal(syscall.SIGCONT))
	b.must(stop())
	p := b.head()
	b.committed(p.LSN)
	b.whole(b.other(owner))
	for _, n := range b.site.Targets {
		b.judgePoint(n, early)
		b.judgePoint(n, p)
	}
}

// R1 with another policy: 3+2 on five nodes, and any two of them gone.
func TestAnyTwoOfFiveGone(t *testing.T) {
	b := newBedOf(t, site.Options{Targets: 5, Data: 3, Parity: 2})
	b.change(400)
	early := b.safe()
	b.whole(b.site.Targets[0])
	for range sized(3, 1) {
		gone := b.rng.Perm(5)
		one, two, here := b.site.Targets[gone[0]], b.site.Targets[gone[1]], b.site.Targets[gone[2]]
		one.Kill()
		two.Kill()
		b.judgePoint(here, early)
		b.change(50) // and replication goes on
		p := b.head()
		b.committed(p.LSN)
		b.judgePoint(here, p)
		b.must(one.Start())
		b.must(two.Start())
		b.whole(here)
	}
}
