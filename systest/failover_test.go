package systest

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// B3: after an unplanned failover with many overwrites on both sides, the way
// back ships each differing byte once, and both sites end equal.
func TestReverseShipsWhatDiffers(t *testing.T) {
	b := newBed(t)
	b.change(sized(1500, 300))
	b.anchor()
	middle := b.head()
	b.change(sized(1500, 300)) // the tail that the chosen point leaves out
	b.safe()
	b.killUnderLoad(50)
	prod := b.site.Targets[1]
	up := b.failover(prod, middle)
	relay := b.use(2, up)
	b.overwrite(relay, sized(2000, 400))
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))

	b.must(b.site.Source.Start())
	b.fenced()
	fork, differs := b.reverse(prod)
	if fork != middle {
		t.Fatalf("the histories part at %s, want %s", fork, middle)
	}
	g := b.wait(prod, "the old primary in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReverse().GetInSync() {
			return fmt.Errorf("%v", g.GetReverse())
		}
		return nil
	})
	shipped := g.Reverse.RawBytes
	t.Logf("differs %d bytes, shipped %d (%.4f x), on the wire %d (%.4f x)", differs, shipped, float64(shipped)/float64(differs),
		g.Reverse.WireBytes, float64(g.Reverse.WireBytes)/float64(differs))
	if limit := differs + differs/20; shipped > limit || g.Reverse.WireBytes > limit {
		t.Errorf("more than 1.05 x what differs was shipped")
	}

	// More writes while the primary follows, then back.
	b.overwrite(relay, 100)
	r := &adminv1.FailbackResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failback", groupName))
	last := redoubt.Position{Epoch: redoubt.Epoch(r.Position.Epoch), LSN: redoubt.LSN(r.Position.Lsn)}
	if drift, err := b.model.Anchor(last.Epoch, last.LSN); err != nil {
		t.Fatalf("drift %d: %v", drift, err)
	}
	b.writable(redoubt.Epoch(r.Epoch))
	_, sg, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	b.judge(sg.Disks, last)
	b.judgePoint(prod, last)
	b.judgePoint(prod, middle)
}

// A failover while the source lives: it is fenced, and after the cancel it goes
// on where it was, with every write that it had acknowledged.
func TestCancelledFailover(t *testing.T) {
	b := newBed(t)
	b.change(300)
	b.safe()
	prod := b.site.Targets[2]
	up := b.failover(prod, b.head())
	b.fenced()
	for _, d := range up {
		c, err := oracle.Dial(b.ctx, d.Socket, d.Export)
		b.must(err)
		b.must(errors.Join(c.Write(bytes.Repeat([]byte{7}, 8192), 0, true), c.Close()))
	}
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "failover", "cancel", groupName)) // any node will do
	b.writable(3)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	b.judge(g.Disks, b.head())
	if g.HasLossReceipt {
		t.Error("a cancelled failover lost nothing, and there is a receipt")
	}
	last := b.head()
	b.must(b.model.Fork(3, last))
	b.must(b.relay.Close())
	relay := b.use(3, g.Disks)
	b.overwrite(relay, 100)
	head := redoubt.Position{Epoch: 3, LSN: b.model.Head(3)}
	b.committed(head.LSN)
	b.judgePoint(b.site.Targets[0], head)
	b.judgePoint(b.site.Targets[1], last)
}

// The node that exports the failed-over disks is killed: it opens them again
// with every write that it had answered.
func TestExportSurvivesKill(t *testing.T) {
	b := newBed(t)
	b.change(300)
	b.safe()
	b.site.Source.Kill()
	prod := b.site.Targets[1]
	point := b.head()
	up := b.failover(prod, point)
	relay := b.use(2, up)
	for range sized(5, 2) {
		b.overwrite(relay, 150)
		prod.Kill()
		b.must(prod.Start())
		b.wait(prod, "the export to be open again", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
				return errors.New("not exported")
			}
			return nil
		})
		relay.Resume()
		b.judge(up, redoubt.Position{Epoch: 2, LSN: b.model.Head(2)})
	}
	head := redoubt.Position{Epoch: 2, LSN: b.model.Head(2)}
	b.wait(b.site.Targets[0], "the writes in the history", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if got := redoubt.LSN(g.GetCommitted().GetLsn()); got < head.LSN {
			return fmt.Errorf("committed is %d, want %d", got, head.LSN)
		}
		return nil
	})
	b.judgePoint(b.site.Targets[0], head)
}

// A node that was killed between making a test failover and pinning its point pins it
// when it opens it again: retention knows of an open export also while its node is down.
func TestReopenedTestFailoverIsPinned(t *testing.T) {
	b := newBed(t)
	b.change(100)
	b.anchor()
	b.committed(b.head().LSN)
	n := b.site.Targets[1]
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", b.head().String()))
	n.Kill()
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "retention", "unpin", groupName, r.Export.Id))
	b.must(n.Start())
	b.wait(b.site.Targets[0], "the pin", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		kept := &adminv1.GetRetentionResponse{}
		if err := b.site.Call(b.ctx, b.site.Targets[0], kept, "retention", "show", groupName); err != nil {
			return err
		}
		for _, p := range kept.Pins {
			if p.Name == r.Export.Id {
				return nil
			}
		}
		return fmt.Errorf("pinned: %v", kept.Pins)
	})
	b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
}

// failover promotes p on n and returns the exported disks.
func (b *bed) failover(n *site.Node, p redoubt.Position) []*adminv1.Disk {
	b.Helper()
	r := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "unplanned", groupName, "--at", p.String()))
	b.judge(r.Export.Disks, p)
	b.must(b.model.Fork(redoubt.Epoch(r.Promotion.Epoch), p))
	return r.Export.Disks
}

// use puts a recording relay of epoch e before exported disks.
func (b *bed) use(e redoubt.Epoch, exported []*adminv1.Disk) *oracle.Relay {
	b.Helper()
	var ups []oracle.Upstream
	for _, d := range b.disks {
		x := disk(b.T, exported, d.Name)
		ups = append(ups, oracle.Upstream{Disk: d, Socket: x.Socket, Export: x.Export})
	}
	r, err := oracle.NewRelay(b.model, e, filepath.Join(b.dir, "r"+e.String()), ups)
	b.must(err)
	b.Cleanup(func() { r.Close() })
	return r
}

// overwrite makes n changes through a relay.
func (b *bed) overwrite(relay *oracle.Relay, n int) {
	b.Helper()
	cs := map[redoubt.DiskID]*oracle.Client{}
	for _, d := range b.disks {
		c, err := oracle.Dial(b.ctx, relay.Socket(d.Name), d.Name)
		b.must(err)
		defer c.Close()
		cs[d.ID] = c
	}
	for range n {
		op := b.work.Next()
		b.must(op.Do(cs[op.Disk.ID]))
	}
}

// fenced waits until the source's disks refuse writes.
func (b *bed) fenced() {
	b.Helper()
	g := b.wait(b.site.Source, "the old source to be fenced", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReadOnly() || len(g.Disks) == 0 {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	b.takeNoWrites(g)
}

// takeNoWrites checks that clients of the disks are told that they may not write.
func (b *bed) takeNoWrites(g *adminv1.Group) {
	b.Helper()
	for _, d := range g.Disks {
		c, err := oracle.Dial(b.ctx, d.Socket, d.Export)
		b.must(err)
		if err := c.Write(make([]byte, 4096), 0, false); !errors.Is(err, syscall.EPERM) {
			b.Fatalf("a write to disk %s: %v, want EPERM", d.Name, err)
		}
		b.must(c.Close())
	}
}

// writable waits until the source is the writer of epoch e.
func (b *bed) writable(e redoubt.Epoch) {
	b.Helper()
	b.wait(b.site.Source, "the source to be the writer", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetReadOnly() || redoubt.Epoch(g.GetEpoch()) != e || !strings.HasPrefix(g.GetWriter(), "source/") {
			return fmt.Errorf("epoch %d, writer %s, %s", g.GetEpoch(), g.GetWriter(), g.GetReadOnlyReason())
		}
		return nil
	})
}

// reverse starts reverse replication and returns where the histories part and
// how many bytes differ, by the model.
func (b *bed) reverse(prod *site.Node) (fork redoubt.Position, differs uint64) {
	b.Helper()
	r := &adminv1.ReverseReplicateResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "reverse", groupName))
	fork = redoubt.Position{Epoch: redoubt.Epoch(r.Fork.Epoch), LSN: redoubt.LSN(r.Fork.Lsn)}
	const all = ^redoubt.LSN(0)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	receipt := &adminv1.GetLossReceiptResponse{}
	b.must(b.site.Call(b.ctx, b.site.Source, receipt, "failover", "receipt", groupName))
	if _, err := b.model.Anchor(1, redoubt.LSN(receipt.Receipt.OldHead.Lsn)); err != nil {
		b.Fatalf("old head %v, now %v: %v", receipt.Receipt.OldHead, g.Head, err)
	}
	return fork, oracle.UniqueBytes(slices.Concat(b.model.Changes(1, fork.LSN, all), b.model.Changes(2, 0, all)))
}

// The receipt is for the point that is chosen: choosing again makes it anew.
func TestReceiptFollowsThePoint(t *testing.T) {
	b := newBed(t)
	b.change(150)
	b.anchor()
	middle := b.head()
	b.change(150)
	last := b.safe()
	prod := b.site.Targets[0]
	b.failover(prod, middle)
	b.fenced()
	b.receipt(middle, uint64(len(b.model.Changes(1, middle.LSN, last.LSN))))
	r := &adminv1.ChangeRecoveryPointResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "change", groupName, "--at", "latest"))
	b.judge(r.Export.Disks, last)
	b.receipt(last, 0)
}

// receipt waits until the source says that n writes after fork were lost.
func (b *bed) receipt(fork redoubt.Position, n uint64) {
	b.Helper()
	b.wait(b.site.Source, "the receipt", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		r := &adminv1.GetLossReceiptResponse{}
		if err := b.site.Call(b.ctx, b.site.Source, r, "failover", "receipt", groupName); err != nil {
			return err
		}
		got := r.Receipt
		if redoubt.LSN(got.GetFork().GetLsn()) != fork.LSN || got.GetRecords()+got.GetKeptElsewhere() != n {
			return fmt.Errorf("fork %v, %d writes and %d kept elsewhere, want %s and %d", got.GetFork(), got.GetRecords(), got.GetKeptElsewhere(), fork, n)
		}
		return nil
	})
}
