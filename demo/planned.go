package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// plannedFailover moves production on purpose: the source's last write is what
// is promoted, and the way back begins by itself with nothing to copy.
func (t *tour) plannedFailover(ctx context.Context) error {
	head := redoubt.Position{Epoch: t.epoch, LSN: t.model.Head(t.epoch)}
	began := time.Now()
	r := &adminv1.PlannedFailoverResponse{}
	if err := t.site.Call(ctx, t.prod, r, "failover", "planned", group, "--node", t.prod.Name); err != nil {
		return err
	}
	if p := (redoubt.Position{Epoch: redoubt.Epoch(r.Job.GetEpoch()), LSN: redoubt.LSN(r.Job.GetHeadLsn())}); p != head {
		return fmt.Errorf("promoted at %s, the last write is %s", p, head)
	}
	t.headline("planned failover", "%.1f s, nobody could write for %d ms, nothing lost", time.Since(began).Seconds(), r.Job.GetPausedMs())
	_, g, err := t.site.Status(ctx, t.prod)
	if err != nil {
		return err
	}
	if err := t.judge(ctx, g.Disks, head); err != nil {
		return fmt.Errorf("the secondary after the planned failover: %w", err)
	}
	if err := t.site.Call(ctx, t.prod, nil, "failover", "commit", group); err != nil {
		return err
	}
	g, err = t.site.Wait(ctx, t.prod, patience, "the way back to begin by itself", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReverse().GetInSync() {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.fact("the way back", "began by itself, %s to copy", size(g.GetReverse().GetBytesToCopy()))
	if g.GetReverse().GetBytesToCopy() != 0 {
		return fmt.Errorf("an equal primary was to be copied to")
	}
	return t.homeAgain(ctx, head)
}

// homeAgain fails back what nobody has written to.
func (t *tour) homeAgain(ctx context.Context, head redoubt.Position) error {
	r := &adminv1.FailbackResponse{}
	if err := t.site.Call(ctx, t.prod, r, "failback", group); err != nil {
		return err
	}
	g, err := t.site.Wait(ctx, t.site.Source, patience, "the primary to write again", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetReadOnly() || g.GetEpoch() != r.Epoch {
			return fmt.Errorf("epoch %d, read-only %v", g.GetEpoch(), g.GetReadOnly())
		}
		return nil
	})
	if err != nil {
		return err
	}
	return t.judge(ctx, g.Disks, head)
}
