package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// failoverLatest promotes what the secondary has, on a target that was not the
// owner, and holds the point against what the model knows.
func (t *tour) failoverLatest(ctx context.Context) (err error) {
	if t.prod, err = t.other(t.down); err != nil {
		return err
	}
	r := &adminv1.UnplannedFailoverResponse{}
	began := time.Now()
	if err := t.site.Call(ctx, t.prod, r, "failover", "unplanned", group, "--at", "latest"); err != nil {
		return err
	}
	took := time.Since(began)
	p := position(r.Promotion.GetPosition())
	head := t.model.Head(1)
	if p.Epoch != 1 || p.LSN > head {
		return fmt.Errorf("promoted %s, but the source never wrote more than 1:%d", p, head)
	}
	// The change that was on its way at the kill was promised to nobody.
	lost := slices.DeleteFunc(t.model.Changes(1, p.LSN, head), func(c oracle.Placed) bool { return c.Maybe() })
	rpo := time.Duration(0)
	if len(lost) > 0 {
		rpo = t.killedAt.Sub(time.Unix(0, lost[0].Sent))
	}
	t.headline("RTO, unplanned failover", "%d ms by redoubtd, %d ms for the command", r.TookMs, took.Milliseconds())
	t.headline("RPO, unplanned failover", "%d ms: %d answered changes lost, %s", max(rpo, 0).Milliseconds(), len(lost), size(bytesOf(lost)))
	t.fact("promoted", "%s on %s, epoch %d; the source was known up to LSN %d", p, t.prod.Name, r.Promotion.GetEpoch(), r.Promotion.GetKnownHeadLsn())
	if err := t.judge(ctx, r.Export.GetDisks(), p); err != nil {
		return err
	}
	return scribble(ctx, r.Export.GetDisks())
}

// change chooses another point before the commit and judges it.
func (t *tour) change(ctx context.Context, at string) (*adminv1.ChangeRecoveryPointResponse, redoubt.Position, error) {
	r := &adminv1.ChangeRecoveryPointResponse{}
	if err := t.site.Call(ctx, t.prod, r, "failover", "change", group, "--at", at); err != nil {
		return nil, redoubt.Position{}, err
	}
	p := position(r.Promotion.GetPosition())
	t.fact("opened", "%s in %d ms, last write at %s", p, r.TookMs, r.Promotion.GetPointTime().AsTime().Format("15:04:05.000000"))
	return r, p, t.judge(ctx, r.Export.GetDisks(), p)
}

func (t *tour) changeToSecond(ctx context.Context) error {
	t.fact("chosen", "%s", t.marks.second.UTC().Format(time.RFC3339))
	r, p, err := t.change(ctx, t.marks.second.UTC().Format(time.RFC3339))
	if err != nil {
		return err
	}
	if err := t.model.CheckTime(p, t.marks.second.UnixNano()); err != nil {
		return fmt.Errorf("the point is not the chosen second's: %w", err)
	}
	t.headline("any second, opened in", "%d ms", r.TookMs)
	return scribble(ctx, r.Export.GetDisks())
}

func (t *tour) changeToLSN(ctx context.Context) error {
	t.fact("chosen", "LSN %d", t.marks.middle)
	_, p, err := t.change(ctx, "lsn:"+t.marks.middle.String())
	if err != nil {
		return err
	}
	if p.LSN != t.marks.middle {
		return fmt.Errorf("opened %s", p)
	}
	return nil
}

// testFailover opens an early point on another node than production and shows
// that production does not notice.
func (t *tour) testFailover(ctx context.Context) error {
	if err := t.openTest(ctx, t.down, redoubt.Position{Epoch: 1, LSN: t.marks.early}, true); err != nil {
		return err
	}
	x := &adminv1.ListExportsResponse{}
	if err := t.site.Call(ctx, t.prod, x, "export", "list", group); err != nil {
		return err
	}
	for _, e := range x.Exports {
		if e.Kind == "failover" {
			t.fact("production", "still at %s", position(e.Position))
			return t.judge(ctx, e.Disks, position(e.Position))
		}
	}
	return errors.New("production is not exported any more")
}

// openTest opens a point as a test failover, judges it, writes to it, judges
// it again after a second opening, and cleans up.
func (t *tour) openTest(ctx context.Context, n *site.Node, p redoubt.Position, write bool) error {
	for range 2 {
		r := &adminv1.TestFailoverResponse{}
		if err := t.site.Call(ctx, n, r, "failover", "test", group, "--at", p.String()); err != nil {
			return err
		}
		x := r.Export
		t.fact("test failover", "%s on %s in %d ms", position(x.GetPosition()), n.Name, r.TookMs)
		if position(x.GetPosition()) != p {
			return fmt.Errorf("asked for %s, got %s", p, position(x.GetPosition()))
		}
		if err := t.judge(ctx, x.Disks, p); err != nil {
			return err
		}
		if write {
			if err := scribble(ctx, x.Disks); err != nil {
				return err
			}
		}
		if err := t.site.Call(ctx, n, nil, "failover", "cleanup", group, x.Id); err != nil {
			return err
		}
		if _, err := oracle.Dial(ctx, x.Disks[0].Socket, x.Disks[0].Export); err == nil {
			return errors.New("the test's export is still there after the cleanup")
		}
		if !write {
			return nil
		}
	}
	return nil
}

// commit goes back to the latest point and makes it final.
func (t *tour) commit(ctx context.Context) error {
	r, p, err := t.change(ctx, "latest")
	if err != nil {
		return err
	}
	if err := t.site.Call(ctx, t.prod, nil, "failover", "commit", group); err != nil {
		return err
	}
	if err := t.site.Call(ctx, t.prod, nil, "failover", "change", group, "--at", "lsn:"+t.marks.middle.String()); err == nil {
		return errors.New("the point could be changed after the commit")
	}
	e := redoubt.Epoch(r.Promotion.GetEpoch())
	t.fact("committed", "%s; %s writes epoch %d; changing the point is refused now", p, t.prod.Name, e)
	if err := t.model.Fork(e, p); err != nil {
		return err
	}
	return t.use(ctx, "r2", e, r.Export.GetDisks())
}

// workAtSecondary has the users write at the secondary.
func (t *tour) workAtSecondary(ctx context.Context) error {
	if err := t.startWriting(13); err != nil {
		return err
	}
	timer := time.NewTimer(3 * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	if err := t.stopWriting(); err != nil {
		return err
	}
	drift, err := t.anchor(ctx, t.prod)
	if err != nil {
		return err
	}
	if drift != 0 {
		return fmt.Errorf("the head at %s moved by %+d LSNs beside the recorded changes", t.prod.Name, drift)
	}
	n, bytes := t.model.Count(t.epoch)
	t.fact("changes", "%d, %s, in epoch %d", n, size(bytes), t.epoch)
	return nil
}

func bytesOf(cs []oracle.Placed) (n uint64) {
	for _, c := range cs {
		n += c.Extent.Len
	}
	return n
}
