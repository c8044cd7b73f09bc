package systest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// add starts a new target and lets it in.
func (b *bed) add(at *site.Node) *site.Node {
	b.Helper()
	n, err := b.site.NewTarget(b.ctx, at)
	b.must(err)
	b.must(n.Start()) // before it is invited: it waits
	r := &adminv1.AddNodeResponse{}
	b.must(b.site.Call(b.ctx, at, r, "node", "add", n.Name))
	if r.Node.GetState() != "active" {
		b.Fatalf("after node add: %v", r.Node)
	}
	return n
}

// healed waits until node sees the group whole and nothing of the node gone.
func (b *bed) healed(n, gone *site.Node) {
	b.Helper()
	b.wait(n, "full redundancy without "+gone.Name, func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
		for _, c := range st.Cluster {
			if c.Id == gone.Name {
				return fmt.Errorf("%s is %s with %d shards", c.Id, c.State, c.Shards)
			}
		}
		if d := g.GetRedundancy().GetDegradedSegments(); g == nil || d != 0 {
			return fmt.Errorf("%d segments lack a shard", d)
		}
		return nil
	})
}

func (b *bed) seenDead(by, dead *site.Node) {
	b.Helper()
	b.wait(by, dead.Name+" to be seen dead", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) error {
		for _, c := range st.Cluster {
			if c.Id == dead.Name && c.Alive {
				return errors.New("it counts as alive")
			}
		}
		return nil
	})
}

// refused runs a command that must fail with exit code 4, a reason and a hint.
func (b *bed) refused(n *site.Node, why string, args ...string) {
	b.Helper()
	err := b.site.Call(b.ctx, n, nil, args...)
	var ce *site.CommandError
	if !errors.As(err, &ce) || !strings.Contains(ce.Stderr, why) || !strings.Contains(ce.Stderr, `"exit_code":4`) || strings.Contains(ce.Stderr, `"hint":""`) {
		b.Fatalf("%v: got %v, want a refusal with %q and a hint", args, err, why)
	}
}

// Three nodes, a fourth joins under load, one dies for good and is given up,
// and everything is redundant again by itself: so another may die, and a new
// node takes the place of that one, too.
func TestNodesComeAndGo(t *testing.T) {
	b := newBed(t)
	t1, t2, t3 := b.site.Targets[0], b.site.Targets[1], b.site.Targets[2]
	b.change(200)
	early := b.head()
	b.committed(early.LSN)
	stop := b.background()
	b.refused(t1, "2 active nodes would be left", "node", "drain", "t2")
	t4 := b.add(t1)
	at := b.head().LSN
	b.committed(at + 100)
	b.refused(t1, "it is alive", "node", "remove", "t2", "--force")

	t2.Kill()
	b.seenDead(t1, t2)
	b.until(func() bool { // on a busy machine others seem away for a moment, and then it is refused
		err := b.site.Call(b.ctx, t4, nil, "node", "remove", "t2", "--force")
		if err != nil {
			t.Log(err)
		}
		return err == nil
	})
	at = b.head().LSN
	b.committed(at + 50)
	b.must(stop())
	p := b.head()
	b.committed(p.LSN)
	b.healed(t1, t2)

	t3.Kill() // and another
	b.judgePoint(t1, early)
	b.judgePoint(t4, p)
	b.seenDead(t1, t3)
	b.refused(t1, "2 active nodes would be left", "node", "remove", "t3", "--force")
	stop = b.background()
	t5 := b.add(t4)
	b.must(b.site.Call(b.ctx, t1, nil, "node", "replace", "t3", t5.Name))
	b.must(stop())
	q := b.head()
	b.committed(q.LSN)
	b.healed(t1, t3)
	t1.Kill()
	b.judgePoint(t5, early)
	b.judgePoint(t5, p)
	b.judgePoint(t4, q)

	b.must(t3.Start()) // a removed node does not come back
	b.until(func() bool { return !t3.Alive() })
	if log := t3.LogTail(5); !strings.Contains(log, "it was removed") {
		t.Errorf("what the removed node says: %s", log)
	}
}

// The owner is drained and removed under load: the stream moves on, and no
// point is less safe on the way.
func TestOwnerDrained(t *testing.T) {
	b := newBed(t)
	b.change(300)
	early := b.head()
	b.committed(early.LSN)
	b.add(b.site.Targets[0])
	_, g, err := b.site.Status(b.ctx, b.site.Targets[0])
	b.must(err)
	owner, err := b.site.Node(g.Owner)
	b.must(err)
	other := b.other(owner)
	stop := b.background()
	b.must(b.site.Call(b.ctx, other, nil, "node", "drain", owner.Name))
	b.must(b.site.Call(b.ctx, owner, nil, "node", "remove", owner.Name, "--no-wait")) // it answers, and then ends
	at := b.head().LSN
	b.committed(at + 100)
	b.must(stop())
	p := b.head()
	b.committed(p.LSN)
	b.until(func() bool { return !owner.Alive() })
	b.healed(other, owner)
	b.judgePoint(other, early)
	b.judgePoint(other, p)
	other.Kill() // the others have everything
	for _, n := range b.site.Targets {
		if n.Alive() {
			b.judgePoint(n, early)
			b.judgePoint(n, p)
		}
	}
}
