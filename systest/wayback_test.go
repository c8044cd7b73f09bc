package systest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// B4: the way back survives kill -9 of either end at random moments, again and
// again, and ends with both sites equal.
func TestWayBackSurvivesKills(t *testing.T) {
	b := newBed(t)
	b.change(sized(1000, 300))
	b.safe()
	b.killUnderLoad(50)
	prod := b.site.Targets[b.rng.IntN(3)]
	r := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "unplanned", groupName))
	point := redoubt.Position{Epoch: redoubt.Epoch(r.Promotion.Position.Epoch), LSN: redoubt.LSN(r.Promotion.Position.Lsn)}
	b.must(b.model.Fork(2, point))
	relay := b.use(2, r.Export.Disks)
	b.overwrite(relay, sized(1000, 300))
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
	b.must(b.site.Source.Start())
	b.fenced()
	b.must(b.site.Call(b.ctx, prod, nil, "reverse", groupName))

	for i := range sized(6, 3) {
		time.Sleep(time.Duration(b.rng.IntN(300)) * time.Millisecond) // any moment will do: that is the test
		victim := b.site.Source
		if i%2 == 1 {
			victim = prod
		}
		victim.Kill()
		b.must(victim.Start())
		b.wait(prod, "the export to be open", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
				return errors.New("not exported")
			}
			return nil
		})
		relay.Resume()
		b.overwrite(relay, 40)
	}
	b.wait(prod, "the old primary in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReverse().GetInSync() {
			return fmt.Errorf("%v", g.GetReverse())
		}
		return nil
	})
	last := b.failbackUnderFire(prod)
	if drift, err := b.model.Anchor(last.Epoch, last.LSN); err != nil {
		t.Fatalf("drift %d: %v", drift, err)
	}
	b.writable(last.Epoch + 1)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	b.judge(g.Disks, last)
	b.judgePoint(b.other(prod), last)
}

// failbackUnderFire fails back while one end is killed at a random moment, and
// again until it is done. It returns the last position of the secondary.
func (b *bed) failbackUnderFire(prod *site.Node) redoubt.Position {
	b.Helper()
	for try := 0; ; try++ {
		answer := make(chan error, 1)
		go func() { answer <- b.site.Call(b.ctx, prod, nil, "failback", groupName, "--timeout", "20s") }()
		if try < 4 {
			time.Sleep(time.Duration(b.rng.IntN(500)) * time.Millisecond)
			victim := b.site.Source
			if b.rng.IntN(2) == 0 {
				victim = prod
			}
			victim.Kill()
			b.must(victim.Start())
		}
		err := <-answer
		g := b.wait(b.other(prod), "a settled state", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if g.GetState() != "Protected" && g.GetState() != "ReverseReplicating" {
				return fmt.Errorf("state %s", g.GetState())
			}
			return nil
		})
		b.Logf("failback %d: %v; the group is %s", try+1, err, g.State)
		if g.State == "Protected" {
			for _, f := range g.Lineage {
				if f.Epoch == g.Epoch {
					return redoubt.Position{Epoch: redoubt.Epoch(f.Parent), LSN: redoubt.LSN(f.At)}
				}
			}
		}
		if try > 8 {
			b.Fatalf("failback does not end: %v", err)
		}
	}
}
