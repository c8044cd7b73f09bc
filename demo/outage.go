package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// replicate lets the users write, marks two moments, and holds the source to
// "one change, one LSN": the source's head moves by exactly what the model saw.
func (t *tour) replicate(ctx context.Context) error {
	if err := t.write(ctx, 3*time.Second); err != nil {
		return err
	}
	t.marks.early = t.model.Head(1)
	// The chosen second ends in the middle of writing.
	if err := t.write(ctx, 1500*time.Millisecond); err != nil {
		return err
	}
	t.marks.second = time.Now().Truncate(time.Second)
	if err := t.write(ctx, 2*time.Second); err != nil {
		return err
	}
	t.marks.middle = t.model.Head(1) - 100
	drift, err := t.anchor(ctx, t.site.Source)
	if err != nil {
		return err
	}
	if drift != 0 {
		return fmt.Errorf("the source's head moved by %+d LSNs beside the recorded changes", drift)
	}
	_, g, err := t.site.Status(ctx, t.site.Source)
	if err != nil {
		return err
	}
	n, bytes := t.model.Count(1)
	t.fact("changes so far", "%d, %s", n, size(bytes))
	t.fact("files", "%s", t.load.count())
	t.headline("RPO while replicating", "%.0f ms", g.GetLagSeconds()*1000)
	t.fact("journal", "%s of %s in use", size(g.GetJournal().GetUsedBytes()), size(g.GetJournal().GetMaxBytes()))
	return nil
}

// write lets the users go on for a while; they must not fail.
func (t *tour) write(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if err := t.load.failed(); err != nil {
		return fmt.Errorf("a write failed: %w", err)
	}
	return t.site.Source.Check()
}

// killTarget kills the group's owner and waits until writes made after the
// kill are safe at the secondary.
func (t *tour) killTarget(ctx context.Context) error {
	_, g, err := t.site.Status(ctx, t.site.Targets[0])
	if err != nil {
		return err
	}
	if t.down, err = t.site.Node(g.Owner); err != nil {
		return err
	}
	began := time.Now()
	t.down.Kill()
	at := t.model.Head(1)
	err = t.committedBeyond(ctx, at)
	if err != nil {
		return err
	}
	pause := time.Since(began)
	if err := t.write(ctx, 2*time.Second); err != nil {
		return err
	}
	g, err = t.drained(ctx, 5*time.Second)
	if err != nil {
		return err
	}
	t.headline("replication's pause, owner killed", "%.1f s; no write failed", pause.Seconds())
	t.fact("owner", "%s was killed, %s took over", t.down.Name, g.GetLink().GetPeer())
	t.fact("RPO now", "%.0f ms", g.GetLagSeconds()*1000)
	return nil
}

// committedBeyond waits until more than lsn is safe at the secondary.
func (t *tour) committedBeyond(ctx context.Context, lsn redoubt.LSN) error {
	_, err := t.site.Wait(ctx, t.site.Source, patience, "replication to go on", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if got := redoubt.LSN(g.GetCommitted().GetLsn()); got <= lsn {
			return fmt.Errorf("committed is %d, the kill was at %d; link: %v", got, lsn, g.GetLink())
		}
		return nil
	})
	return err
}

// drained waits until the lag is small while the users write.
func (t *tour) drained(ctx context.Context, within time.Duration) (*adminv1.Group, error) {
	return t.site.Wait(ctx, t.site.Source, within, "a lag under a second", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.LagSeconds == nil || g.GetLagSeconds() >= 1 {
			return fmt.Errorf("the lag is %v s", g.GetLagSeconds())
		}
		return nil
	})
}

// killSource kills the source while everybody writes. From here on the model
// knows one thing that Redoubt's user does not: what the last write was.
func (t *tour) killSource(context.Context) error {
	if err := t.load.failed(); err != nil {
		return fmt.Errorf("a write failed: %w", err)
	}
	t.killedAt = time.Now()
	t.site.Source.Kill()
	l := t.load
	t.load = nil
	if err := l.endBroken(patience); err != nil {
		return err
	}
	t.unmount()
	n, bytes := t.model.Count(1)
	t.fact("changes answered until then", "%d, %s; the last has LSN %d", n, size(bytes), t.model.Head(1))
	return nil
}

// targetReturns starts the killed target, waits until every segment is whole
// again, and shows it: another target dies, and an early point still opens.
func (t *tour) targetReturns(ctx context.Context) error {
	began := time.Now()
	if err := t.down.Start(); err != nil {
		return err
	}
	_, err := t.site.Wait(ctx, t.prod, 60*time.Second, "full redundancy", func(st *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if n := g.GetRedundancy().GetDegradedSegments(); n != 0 {
			return fmt.Errorf("%d of %d segments lack a shard", n, g.GetRedundancy().GetSegments())
		}
		for _, n := range st.Cluster {
			if n.Id == t.down.Name && !n.Alive {
				return fmt.Errorf("%s is not seen alive", n.Id)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.headline("killed target whole again after", "%.1f s", time.Since(began).Seconds())
	victim, err := t.other(t.prod, t.down)
	if err != nil {
		return err
	}
	victim.Kill()
	t.fact("killed now", "%s; %s must serve what it missed", victim.Name, t.down.Name)
	p := redoubt.Position{Epoch: 1, LSN: t.marks.middle}
	if err := t.openTest(ctx, t.prod, p, false); err != nil {
		return err
	}
	return victim.Start()
}

// other returns a target that is none of these.
func (t *tour) other(not ...*site.Node) (*site.Node, error) {
next:
	for _, n := range t.site.Targets {
		for _, x := range not {
			if n == x {
				continue next
			}
		}
		return n, nil
	}
	return nil, errors.New("no other target")
}
