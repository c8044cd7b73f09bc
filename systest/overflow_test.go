package systest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// newOverflowBed is a site whose journal holds little.
func newOverflowBed(t *testing.T) *bed {
	t.Helper()
	return newBedOf(t, site.Options{JournalMax: "8MiB", Segment: "1MiB"})
}

// overflow takes the secondary away and writes until the journal has given up
// records, and n changes more. It returns the last position before.
func (b *bed) overflow(n int) redoubt.Position {
	b.Helper()
	last := b.safe()
	for _, t := range b.site.Targets {
		t.Kill()
	}
	b.until(func() bool {
		b.change(20)
		_, g, err := b.site.Status(b.ctx, b.site.Source)
		b.must(err)
		return g.GetOverflow() != nil
	})
	b.change(n)
	return last
}

// caughtUp waits until both sites say that there are points again, and
// anchors the model: copies have LSNs, too.
func (b *bed) caughtUp() {
	b.Helper()
	b.wait(b.site.Source, "the end of the gap at the source", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetOverflow() != nil || g.GetState() != "Protected" {
			return fmt.Errorf("state %s, overflow %v, link %v", g.GetState(), g.GetOverflow(), g.GetLink())
		}
		return nil
	})
	drift, err := b.relay.Anchor(func() (redoubt.LSN, error) {
		_, g, err := b.site.Status(b.ctx, b.site.Source)
		return redoubt.LSN(g.GetHead().GetLsn()), err
	})
	b.must(err)
	b.Logf("%d LSNs went to copies", drift)
	b.committed(b.head().LSN)
	b.wait(b.site.Targets[0], "the end of the gap at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetGap() != nil || g.GetState() != "Protected" {
			return fmt.Errorf("state %s, gap %v", g.GetState(), g.GetGap())
		}
		return nil
	})
}

// pointsOf lists all points that a target offers.
func (b *bed) pointsOf(n *site.Node) *adminv1.ListPointsResponse {
	b.Helper()
	r := &adminv1.ListPointsResponse{}
	b.must(b.site.Call(b.ctx, n, r, "points", groupName, "--limit", "10000"))
	return r
}

// refused checks that no test failover opens the point.
func (b *bed) noPoint(n *site.Node, at string) {
	b.Helper()
	r := &adminv1.TestFailoverResponse{}
	if err := b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", at); err == nil {
		b.Fatalf("the point %s was opened: %v", at, r.Export.GetPosition())
	}
}

// gapOnly checks that exactly one gap is listed, that it begins after last, that
// nothing in it is offered, and that its two ends are. It returns the first
// point behind it.
func (b *bed) gapOnly(n *site.Node, last redoubt.Position) redoubt.Position {
	b.Helper()
	r := b.pointsOf(n)
	if len(r.Gaps) != 1 || r.Gaps[0].Epoch != uint64(last.Epoch) || r.Gaps[0].AfterLsn < uint64(last.LSN) || r.Gaps[0].WholeLsn == 0 {
		text, _ := json.Marshal(r.Gaps)
		b.Fatalf("gaps %s, one after %s was expected", text, last)
	}
	gap := r.Gaps[0]
	for _, p := range r.Points {
		if to := p.Position.Lsn; to > gap.AfterLsn && (p.FirstLsn < gap.WholeLsn || to < gap.WholeLsn) {
			b.Fatalf("point %d:%d-%d is offered inside of the gap %v", p.Position.Epoch, p.FirstLsn, to, gap)
		}
	}
	for _, l := range []uint64{gap.AfterLsn + 1, (gap.AfterLsn + gap.WholeLsn) / 2, gap.WholeLsn - 1} {
		b.noPoint(n, redoubt.Position{Epoch: last.Epoch, LSN: redoubt.LSN(l)}.String())
	}
	return redoubt.Position{Epoch: last.Epoch, LSN: redoubt.LSN(gap.WholeLsn)}
}

// The secondary is away until the journal overflows: writes go on, older points
// stay, nothing inside of the gap is ever offered, and when the secondary is
// back it catches up by itself.
func TestOverflowCostsNoPoint(t *testing.T) {
	b := newOverflowBed(t)
	b.change(sized(600, 200))
	b.anchor()
	early := b.head()
	b.change(50)
	last := b.overflow(sized(1500, 400))
	during := time.Now()
	b.anchor() // no LSN went to anything but changes, and none was lost
	b.judgeSource()

	// A kill of the source in this state loses nothing either.
	b.site.Source.Kill()
	b.must(b.site.Source.Start())
	b.wait(b.site.Source, "the source with its gap", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetOverflow() == nil || len(g.GetDisks()) != len(b.disks) {
			return fmt.Errorf("overflow %v", g.GetOverflow())
		}
		return nil
	})
	b.relay.Resume()
	b.change(100)
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	b.caughtUp()
	whole := b.gapOnly(b.site.Targets[1], last)
	t.Logf("gap after %s, whole from %s, head %s", last, whole, b.head())
	for _, p := range []redoubt.Position{early, last, b.head()} {
		b.judgePoint(b.site.Targets[b.rng.IntN(3)], p)
	}
	// A time inside of the gap means the point before it.
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, b.site.Targets[0], r, "failover", "test", groupName, "--at", during.UTC().Format(time.RFC3339Nano)))
	if got := r.Export.Position; got.Lsn != uint64(last.LSN) {
		t.Fatalf("a time in the gap opened %v, want %s", got, last)
	}
	b.judge(r.Export.Disks, last)
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "failover", "cleanup", groupName, r.Export.Id))

	// And the history goes on as ever.
	from := b.head().LSN
	b.change(200)
	b.safe()
	for range 4 {
		b.judgePoint(b.site.Targets[b.rng.IntN(3)], redoubt.Position{Epoch: 1, LSN: from + redoubt.LSN(b.rng.Uint64N(200))})
	}
	b.judgeSource()
}

// Kills of either side at random moments of the catch-up, while clients write.
func TestCatchUpSurvivesKills(t *testing.T) {
	b := newOverflowBed(t)
	b.change(200)
	last := b.overflow(sized(800, 300))
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	for i := range sized(8, 3) {
		stop := b.background()
		time.Sleep(time.Duration(b.rng.IntN(400)) * time.Millisecond) // any moment will do: that is the test
		victim := b.site.Source
		if i%2 == 1 {
			victim = b.site.Targets[b.rng.IntN(3)]
		}
		if victim == b.site.Source {
			// Copies have LSNs too here, so a write without an answer could not be settled.
			b.must(stop())
			victim.Kill()
		} else {
			victim.Kill()
			b.must(stop())
		}
		b.must(victim.Start())
		if victim == b.site.Source {
			b.wait(b.site.Source, "the source's disks", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
				if len(g.GetDisks()) != len(b.disks) || g.Disks[0].Socket == "" {
					return errors.New("not served")
				}
				return nil
			})
			b.relay.Resume()
		}
	}
	b.caughtUp()
	for _, g := range b.pointsOf(b.site.Targets[0]).Gaps {
		t.Logf("gap %v", g)
		if g.WholeLsn == 0 {
			t.Error("a gap is still open")
		}
	}
	b.judgePoint(b.site.Targets[0], last)
	b.judgePoint(b.site.Targets[1], b.head())
	b.judgeSource()
}

// nap waits for a part of so many milliseconds: any moment will do.
func (b *bed) nap(most int) {
	time.Sleep(time.Duration(b.rng.IntN(most)) * time.Millisecond)
}

// The journal overflows before the secondary was ever reached: the first copy,
// its end included, is given up with the writes, and there are no points until
// all of it has arrived.
func TestOverflowDuringTheFirstCopy(t *testing.T) {
	b := &bed{T: t, ctx: t.Context(), seed: uint64(time.Now().UnixNano())}
	t.Logf("seed %d", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 0))
	var err error
	b.dir, err = os.MkdirTemp("", "st")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	d := redoubt.Disk{ID: 1, Name: "a", Size: 24 << 20}
	img, base := filepath.Join(b.dir, "a"), filepath.Join(b.dir, "a.base")
	b.must(errors.Join(site.MakeRaw(img, int64(d.Size), b.seed), site.CopyFile(b.ctx, img, base)))
	b.disks = []redoubt.Disk{d}
	b.work = oracle.NewWorkload(b.seed, b.disks, oracle.DefaultMix())
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "8MiB", Segment: "1MiB",
		Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	b.must(b.site.Source.Start())
	x := b.serving()
	b.model, err = oracle.New(filepath.Join(b.dir, "model"), []oracle.Disk{{Disk: d, Base: base}})
	b.must(err)
	b.state, err = b.model.State()
	b.must(err)
	_, err = b.model.Anchor(1, 0)
	b.must(err)
	b.relay, err = oracle.NewRelay(b.model, 1, filepath.Join(b.dir, "r"), []oracle.Upstream{{Disk: d, Socket: x.Socket, Export: x.Export}})
	b.must(err)
	t.Cleanup(func() { b.relay.Close(); b.model.Close() })
	b.until(func() bool {
		b.change(20)
		_, g, err := b.site.Status(b.ctx, b.site.Source)
		b.must(err)
		return g.GetOverflow() != nil
	})
	b.change(200)
	if b.rng.IntN(2) == 0 {
		b.site.Source.Kill()
		b.must(b.site.Source.Start())
		b.serving()
		b.relay.Resume()
	}
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	b.caughtUp()
	r := b.pointsOf(b.site.Targets[0])
	if len(r.Gaps) != 0 || len(r.Points) == 0 {
		t.Fatalf("gaps %v, %d points", r.Gaps, len(r.Points))
	}
	b.judgePoint(b.site.Targets[0], b.head())
	from := b.head().LSN
	b.change(100)
	b.safe()
	b.judgePoint(b.site.Targets[1], redoubt.Position{Epoch: 1, LSN: from + 1 + redoubt.LSN(b.rng.Uint64N(99))})
}
