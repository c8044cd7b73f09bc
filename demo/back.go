package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// sourceReturns starts the old primary: it must take no write, and say exactly
// which of its writes were lost.
func (t *tour) sourceReturns(ctx context.Context) error {
	began := time.Now()
	if err := t.site.Source.Start(); err != nil {
		return err
	}
	g, err := t.site.Wait(ctx, t.site.Source, patience, "the old source to be fenced", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReadOnly() || len(g.Disks) == 0 || g.Disks[0].Socket == "" {
			return errors.New("it is not read-only")
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.headline("old source fenced after", "%.1f s: %s", time.Since(began).Seconds(), g.ReadOnlyReason)
	for _, d := range g.Disks {
		if err := refuses(ctx, d); err != nil {
			return err
		}
	}
	t.fact("a write there", "is refused (EPERM) on each disk")
	return t.receipt(ctx)
}

func refuses(ctx context.Context, d *adminv1.Disk) error {
	c, err := oracle.Dial(ctx, d.Socket, d.Export)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Write(make([]byte, 4096), 4096, true); !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("a write to the fenced disk %s gives %v, not EPERM", d.Name, err)
	}
	return nil
}

// receipt compares the loss receipt with the model, write by write.
func (t *tour) receipt(ctx context.Context) error {
	r := &adminv1.GetLossReceiptResponse{}
	_, err := t.site.Wait(ctx, t.prod, patience, "the complete loss receipt", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		r.Reset()
		if err := t.site.Call(ctx, t.site.Source, r, "failover", "receipt", group, "--max", "100000"); err != nil {
			return err
		}
		if !r.Receipt.GetComplete() {
			return errors.New("it is not complete")
		}
		return nil
	})
	if err != nil {
		return err
	}
	fork, head := position(r.Receipt.Fork), position(r.Receipt.OldHead)
	// The change that was on its way at the kill is in the journal or not: its head tells.
	if drift, err := t.model.Anchor(1, head.LSN); err != nil || drift != 0 {
		return fmt.Errorf("the old source's head is %s: %+d LSNs from what it had answered (%v)", head, drift, err)
	}
	lost := t.model.Changes(1, fork.LSN, head.LSN)
	if err := sameWrites(lost, r.Receipt.Writes); err != nil {
		return fmt.Errorf("the loss receipt is wrong: %w", err)
	}
	t.headline("loss receipt", "%d writes, %s after %s: exactly the model's; branch kept", len(lost), size(bytesOf(lost)), fork)
	return nil
}

func sameWrites(want []oracle.Placed, got []*adminv1.LostWrite) error {
	if len(want) != len(got) {
		return fmt.Errorf("it lists %d writes, the model %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if redoubt.LSN(g.Lsn) != w.Position.LSN || redoubt.DiskID(g.Disk) != w.Disk ||
			g.GetExtent().GetOff() != w.Extent.Off || g.GetExtent().GetLen() != w.Extent.Len {
			return fmt.Errorf("write %d is %v, the model has %s disk %d %s", i, g, w.Position, w.Disk, w.Extent)
		}
	}
	return nil
}

// reverse ships what differs to the old primary and holds the bytes against
// what the model says differs.
func (t *tour) reverse(ctx context.Context) error {
	began := time.Now()
	r := &adminv1.ReverseReplicateResponse{}
	if err := t.site.Call(ctx, t.prod, r, "reverse", group); err != nil {
		return err
	}
	fork := position(r.Fork)
	g, err := t.site.Wait(ctx, t.prod, 60*time.Second, "the old primary to be in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if v := g.GetReverse(); !v.GetInSync() {
			return fmt.Errorf("copied %d of %d bytes; %s", v.GetBytesCopied(), v.GetBytesToCopy(), v.GetLastError())
		}
		return nil
	})
	if err != nil {
		return err
	}
	const all = ^redoubt.LSN(0)
	differs := oracle.UniqueBytes(slices.Concat(t.model.Changes(1, fork.LSN, all), t.model.Changes(t.epoch, 0, all)))
	v := g.GetReverse()
	t.headline("changed on either side", "%s of %s", size(differs), size(fsSize+rawSize))
	t.headline("shipped back", "%s (%.3f x), on the wire %s, in %.1f s", size(v.GetBytesCopied()),
		float64(v.GetBytesCopied())/float64(max(differs, 1)), size(v.GetWireBytes()), time.Since(began).Seconds())
	t.fact("orphan writes rolled back", "%d; state %s", r.OrphanRecords, g.State)
	if r.Full {
		return errors.New("a full resynchronisation was needed")
	}
	if float64(v.GetBytesCopied()) > 1.05*float64(differs)+4096 {
		return fmt.Errorf("%d bytes were shipped, more than 1.05 x the %d that differ", v.GetBytesCopied(), differs)
	}
	return nil
}

// failback returns the group to the primary without loss.
func (t *tour) failback(ctx context.Context) error {
	t.unmount() // the last users at the secondary go
	drift, err := t.anchor(ctx, t.prod)
	if err != nil {
		return err
	}
	t.fact("copy records in epoch", "%d", drift)
	r := &adminv1.FailbackResponse{}
	began := time.Now()
	if err := t.site.Call(ctx, t.prod, r, "failback", group); err != nil {
		return err
	}
	p := position(r.Position)
	if head := t.model.Head(t.epoch); p.Epoch != t.epoch || p.LSN != head {
		return fmt.Errorf("failed back at %s, the secondary's last write was %d:%d", p, t.epoch, head)
	}
	t.headline("failback", "%.1f s, nobody could write for %d ms, nothing lost", time.Since(began).Seconds(), r.PausedMs)
	e := redoubt.Epoch(r.Epoch)
	g, err := t.site.Wait(ctx, t.site.Source, patience, "the primary to write again", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetReadOnly() || redoubt.Epoch(g.GetEpoch()) != e || !strings.HasPrefix(g.GetWriter(), "source/") {
			return fmt.Errorf("epoch %d, writer %s, read-only %v %s", g.GetEpoch(), g.GetWriter(), g.GetReadOnly(), g.GetReadOnlyReason())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.model.Fork(e, p); err != nil {
		return err
	}
	t.fact("writer", "%s, epoch %d", g.Writer, e)
	if err := t.judge(ctx, g.Disks, p); err != nil {
		return fmt.Errorf("the primary after failback: %w", err)
	}
	return t.use(ctx, "r3", e, g.Disks)
}

// workAtPrimary writes once more, then compares source, secondary and model.
func (t *tour) workAtPrimary(ctx context.Context) error {
	if err := t.startWriting(23); err != nil {
		return err
	}
	if err := t.write(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := t.stopWriting(); err != nil {
		return err
	}
	t.unmount()
	drift, err := t.anchor(ctx, t.site.Source)
	if err != nil {
		return err
	}
	if drift != 0 {
		return fmt.Errorf("the source's head moved by %+d LSNs beside the recorded changes", drift)
	}
	p := redoubt.Position{Epoch: t.epoch, LSN: t.model.Head(t.epoch)}
	g, err := t.site.Wait(ctx, t.site.Source, patience, "everything to be safe at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if got := position(g.GetCommitted()); got != p {
			return fmt.Errorf("committed is %s, the head %s", got, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.fact("primary", "at %s", p)
	if err := t.judge(ctx, g.Disks, p); err != nil {
		return err
	}
	if err := t.openTest(ctx, t.prod, p, false); err != nil {
		return err
	}
	// History is one: a point of the first epoch still opens.
	return t.openTest(ctx, t.prod, redoubt.Position{Epoch: 1, LSN: t.marks.early}, false)
}
