package systest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// A source that has lost its journal is found out, writes go on, and a
// resynchronisation ships the blocks that differ and no others. Points from
// before stay; the new ones hold what the source holds.
func TestLostJournal(t *testing.T) {
	b := newBed(t)
	old := b.settled()
	b.site.Source.Kill()
	b.must(os.RemoveAll(filepath.Join(b.groupDir(), "journal")))
	differ := b.spoilBlocks(sized(200, 60))
	b.must(b.site.Source.Start())
	b.resyncRequired()
	stop := b.overwriteAtRandom(4 << 20) // within the first blocks of disk a
	time.Sleep(50 * time.Millisecond)
	target := b.site.Targets[b.rng.IntN(3)]
	b.judgePoint(b.other(target), old)

	before := b.shipped()
	b.must(b.site.Call(b.ctx, target, nil, "resync", groupName))
	b.judgePoint(b.other(target), old) // also while it goes on
	b.resynced()
	written := stop()
	raw := b.shipped() - before
	g := b.sourceGroup()
	// What was written before the resynchronisation differs, too: at most all that is written to.
	if c := g.GetCopy(); c.DifferingBytes < differ*4096 || c.DifferingBytes > differ*4096+4<<20 || raw > (c.DifferingBytes+written)*105/100 {
		t.Errorf("%d bytes differed, %d were written: %d were found, %d shipped", differ*4096, written, c.DifferingBytes, raw)
	}
	t.Logf("%d bytes differed, %d were written meanwhile; found %d, shipped %d", differ*4096, written, g.GetCopy().DifferingBytes, raw)
	b.sameAtBothSites()
	b.judgePoint(b.other(target), old)
	b.must(b.site.Call(b.ctx, target, nil, "verify", groupName))
}

// A difference that a verification finds in a protected group is mended from
// there: just the blocks that differ are shipped, while clients write without an
// error, also when the source is killed meanwhile; points of before stay, and the
// source finds by itself that nothing differs any more.
func TestMendWhatVerifyFinds(t *testing.T) {
	b := newBed(t)
	old := b.settled()
	target := b.site.Targets[b.rng.IntN(3)]
	b.reconfigure("      disks:\n", "      verify: {rate: 16MiB}\n      disks:\n") // a window takes seconds
	b.must(b.site.Source.Stop(patience))
	differ := b.spoilBlocks(sized(200, 60))
	b.must(b.site.Source.Start())
	b.resynced()
	b.differing(target, differ)

	b.must(b.site.Call(b.ctx, target, nil, "resync", groupName, "--wait"))
	b.resynced()
	if raw, c := b.shipped(), b.sourceGroup().GetCopy(); c.DifferingBytes != differ*4096 || raw > differ*4096*105/100 {
		t.Errorf("%d bytes differed: %d found, %d shipped", differ*4096, c.DifferingBytes, raw)
	}
	b.mended()
	b.sameAtBothSites()
	b.judgePoint(b.other(target), old)

	b.must(b.site.Source.Stop(patience))
	differ = b.spoilBlocks(sized(200, 60))
	b.must(b.site.Source.Start())
	b.resynced()
	b.differing(target, differ)
	stop := b.overwriteAtRandom(4 << 20) // within the first blocks of disk a
	b.must(b.site.Call(b.ctx, target, nil, "resync", groupName))
	b.wait(b.site.Source, "the comparison", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.Epoch != 3 || g.ReadOnly { // on a slow machine it may be over by now
			return fmt.Errorf("state %s, epoch %d, copy %v", g.GetState(), g.Epoch, g.GetCopy())
		}
		return nil
	})
	before := stop()
	if before == 0 {
		t.Error("nobody could write")
	}
	b.site.Source.Kill()
	b.must(b.site.Source.Start())
	b.resynced()
	b.mended()
	b.sameAtBothSites()
	b.judgePoint(b.other(target), old)
}

// differing holds that a verification finds n blocks that differ, and that the
// group's health says so at both sites.
func (b *bed) differing(asked *site.Node, n uint64) {
	b.Helper()
	if err := b.site.Call(b.ctx, asked, nil, "verify", groupName); err == nil {
		b.Fatal("what was changed behind Redoubt's back is not found")
	}
	for _, node := range []*site.Node{b.site.Source, asked} {
		b.wait(node, "the difference to be told", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if got := g.GetVerify().GetLast().GetDifferingBlocks(); got != n || g.GetHealth().GetLevel() != "Critical" {
				return fmt.Errorf("%d blocks differ of %d, health %v", got, n, g.GetHealth())
			}
			return nil
		})
	}
}

// mended waits until both sites say that nothing differs.
func (b *bed) mended() {
	b.Helper()
	for _, node := range b.site.Nodes() {
		b.wait(node, "the sites to be found equal", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			v := g.GetVerify().GetLast()
			if v == nil || v.DifferingBlocks != 0 || v.Epoch != g.Epoch {
				return fmt.Errorf("at epoch %d %v", g.Epoch, v)
			}
			return nil
		})
	}
}

// Nothing else is shipped: at rest the bytes are those of the blocks that
// differ, though the source has lost its identity, too.
func TestLostIdentity(t *testing.T) {
	b := newBed(t)
	old := b.settled()
	b.site.Source.Kill()
	b.must(os.RemoveAll(b.groupDir()))
	differ := b.spoilBlocks(sized(400, 100))
	b.must(b.site.Source.Start())
	b.resyncRequired()
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "resync", groupName, "--wait"))
	b.resynced()
	if raw, c := b.shipped(), b.sourceGroup().GetCopy(); c.DifferingBytes != differ*4096 || raw > differ*4096*105/100 {
		t.Errorf("%d bytes differed: %d found, %d shipped", differ*4096, c.DifferingBytes, raw)
	}
	b.sameAtBothSites()
	b.judgePoint(b.site.Targets[1], old)
}

// The source and the targets are killed while the comparison goes on and
// clients write, again and again: it ends all the same, older points stay, and
// no point is offered before it is whole.
func TestResyncSurvivesKills(t *testing.T) {
	b := newBed(t)
	old := b.settled()
	b.site.Source.Kill()
	b.must(os.RemoveAll(filepath.Join(b.groupDir(), "journal")))
	for _, d := range b.disks { // everything differs
		b.must(os.Remove(filepath.Join(b.dir, d.Name)))
		b.must(site.MakeRaw(filepath.Join(b.dir, d.Name), int64(d.Size), b.seed+1))
	}
	b.reconfigure("      disks:\n", "      verify: {rate: 8MiB}\n      disks:\n") // a window takes seconds
	b.must(b.site.Source.Start())
	b.resyncRequired()
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "resync", groupName))
	for i := range sized(8, 4) {
		stop := b.overwriteAtRandom(4 << 20)
		time.Sleep(time.Duration(b.rng.IntN(400)) * time.Millisecond) // any moment will do: that is the test
		victim := b.site.Source
		if i%2 == 1 {
			victim = b.site.Targets[b.rng.IntN(3)]
		}
		t.Logf("kill %d finds %s, %v", i, b.sourceGroup().State, b.sourceGroup().Copy)
		victim.Kill()
		stop()
		b.must(victim.Start())
		b.wait(b.site.Source, "the source to serve", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
				return errors.New("not yet")
			}
			return nil
		})
		b.nothingNewIsOffered(old)
	}
	b.resynced()
	b.sameAtBothSites()
	b.judgePoint(b.site.Targets[1], old)
	b.must(b.site.Call(b.ctx, b.site.Source, nil, "verify", groupName))
}

// What an interrupted resynchronisation has shipped is not shipped again: with
// the first disk stored when the source dies, only the second one is left.
func TestResyncResumes(t *testing.T) {
	b := newBed(t)
	b.settled()
	b.site.Source.Kill()
	b.must(os.RemoveAll(filepath.Join(b.groupDir(), "journal")))
	for _, d := range b.disks { // everything differs
		b.must(os.Remove(filepath.Join(b.dir, d.Name)))
		b.must(site.MakeRaw(filepath.Join(b.dir, d.Name), int64(d.Size), b.seed+1))
	}
	b.reconfigure("      disks:\n", "      verify: {rate: 2MiB}\n      disks:\n") // disk b takes four seconds
	b.must(b.site.Source.Start())
	b.resyncRequired()
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "resync", groupName))
	var first uint64
	b.wait(b.site.Source, "disk a at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		c := g.GetCopy()
		switch first = c.GetDifferingBytes(); {
		case g.GetState() == "Protected":
			b.Fatal("it is over already")
		case g.GetState() != "Resyncing" || c.GetDoneBytes() < b.disks[0].Size:
			return fmt.Errorf("%s, %d bytes", g.GetState(), c.GetDoneBytes())
		}
		return nil
	})
	b.site.Source.Kill()
	b.must(b.site.Source.Start())
	b.resynced()
	raw := b.shipped()
	t.Logf("%d bytes of disk a were shipped before, and %d after the restart", first, raw)
	if first < b.disks[0].Size/2 || raw == 0 || raw > b.disks[1].Size {
		t.Errorf("disk b has %d bytes", b.disks[1].Size)
	}
	b.sameAtBothSites()
	b.must(b.site.Call(b.ctx, b.site.Source, nil, "verify", groupName))
}

// nothingNewIsOffered checks that the newest point is last, as long as the
// resynchronisation goes on.
func (b *bed) nothingNewIsOffered(last redoubt.Position) {
	b.Helper()
	r := &adminv1.ListPointsResponse{}
	n := b.site.Targets[1]
	err := b.site.Call(b.ctx, n, r, "points", groupName)
	_, g, serr := b.site.Status(b.ctx, n)
	if err != nil || serr != nil || g.State != "Resyncing" {
		b.Logf("points: %v %v %s", err, serr, g.GetState())
		return
	}
	if p := r.GetLatest().GetPosition(); p.GetEpoch() != uint64(last.Epoch) || p.GetLsn() != uint64(last.LSN) {
		b.Errorf("offered while the group is %s: %v, the last point is %s", g.State, p, last)
	}
}

// settled changes the disks, and returns the position at which everything is
// stored and in the images.
func (b *bed) settled() redoubt.Position {
	b.Helper()
	b.change(sized(1000, 300))
	p := b.safe()
	b.wait(b.site.Source, "everything in the images", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetAppliedLsn() < uint64(p.LSN) {
			return errors.New("not yet")
		}
		return nil
	})
	return p
}

func (b *bed) groupDir() string {
	return filepath.Join(b.site.Source.Dir, "data", "groups", groupName)
}

// spoilBlocks changes n blocks of 4 KiB of disk a, beyond its first 4 MiB,
// behind Redoubt's back.
func (b *bed) spoilBlocks(n int) uint64 {
	b.Helper()
	f, err := os.OpenFile(filepath.Join(b.dir, b.disks[0].Name), os.O_RDWR, 0)
	b.must(err)
	p := make([]byte, 4096)
	for _, k := range b.rng.Perm(int(b.disks[0].Size/4096) - 1024)[:n] {
		for i := range p {
			p[i] = byte(b.rng.Uint32())
		}
		_, err := f.WriteAt(p, int64(k+1024)*4096)
		b.must(err)
	}
	b.must(f.Close())
	return uint64(n)
}

func (b *bed) resyncRequired() {
	b.Helper()
	for _, n := range []*site.Node{b.site.Source, b.site.Targets[0]} {
		b.wait(n, "a resynchronisation to be required", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if g.GetState() != "ResyncRequired" || g.ResyncReason == "" {
				return fmt.Errorf("state %s, reason %q", g.GetState(), g.GetResyncReason())
			}
			return nil
		})
	}
}

// resynced waits until both sides say that points are made.
func (b *bed) resynced() {
	b.Helper()
	for _, n := range []*site.Node{b.site.Targets[0], b.site.Source} {
		b.wait(n, "the end of the resynchronisation", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if g.GetState() != "Protected" || g.ResyncReason != "" {
				return fmt.Errorf("state %s, reason %q, copy %v", g.GetState(), g.GetResyncReason(), g.GetCopy())
			}
			return nil
		})
	}
}

func (b *bed) sourceGroup() *adminv1.Group {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	return g
}

// shipped is how much the source has shipped since its start, uncompressed.
func (b *bed) shipped() uint64 { return b.sourceGroup().GetLink().GetRawBytes() }

// overwriteAtRandom writes to the first bytes of disk a until stop is called, or a write
// fails. stop returns how much.
func (b *bed) overwriteAtRandom(within uint64) (stop func() uint64) {
	return b.overwriteAt(b.socket(), within)
}

func (b *bed) overwriteAt(socket string, within uint64) (stop func() uint64) {
	b.Helper()
	c, err := oracle.Dial(b.ctx, socket, b.disks[0].Name)
	b.must(err)
	ctx, cancel := context.WithCancel(b.ctx)
	rng := rand.New(rand.NewPCG(b.rng.Uint64(), 3))
	var wg sync.WaitGroup
	var n uint64
	wg.Go(func() {
		defer c.Close()
		p := make([]byte, 4096)
		for n == 0 || ctx.Err() == nil { // one at least
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			if c.Write(p, rng.Uint64N(within/4096)*4096, rng.IntN(8) == 0) != nil {
				return
			}
			n += 4096
		}
	})
	return func() uint64 {
		cancel()
		wg.Wait()
		return n
	}
}

// sameAtBothSites compares the source's exports with its newest point, byte for byte.
func (b *bed) sameAtBothSites() {
	b.Helper()
	head := b.sourceGroup().GetHead()
	p := redoubt.Position{Epoch: redoubt.Epoch(head.GetEpoch()), LSN: redoubt.LSN(head.GetLsn())}
	b.committed(p.LSN)
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, b.site.Targets[2], r, "failover", "test", groupName, "--at", p.String()))
	for _, d := range b.disks {
		x := disk(b.T, r.Export.Disks, d.Name)
		if here, there := b.hashOf(b.socket(), d.Name), b.hashOf(x.Socket, x.Export); !bytes.Equal(here, there) {
			b.Errorf("disk %s at %s: source %x, secondary %x", d.Name, p, here, there)
		}
	}
	b.must(b.site.Call(b.ctx, b.site.Targets[2], nil, "failover", "cleanup", groupName, r.Export.Id))
}

func (b *bed) hashOf(socket, export string) []byte {
	b.Helper()
	c, err := oracle.Dial(b.ctx, socket, export)
	b.must(err)
	h := sha256.New()
	b.must(errors.Join(c.CopyTo(h), c.Close()))
	return h.Sum(nil)
}
