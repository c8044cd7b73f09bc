package systest

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
	"github.com/redoubt-dr/redoubt/systest/lan"
)

// disasters are the ways in which a source is lost, by what happens to the link.
var disasters = []struct {
	name     string
	to, from lan.Way // the secondary, the source
}{
	{"the link is fine", lan.Way{}, lan.Way{}},
	{"the link is slow", lan.Way{Rate: 1 << 20, Delay: 10 * time.Millisecond}, lan.Way{Delay: 10 * time.Millisecond}},
	{"the link is cut", lan.Way{Cut: true}, lan.Way{Cut: true}},
	{"the link is cut towards the secondary", lan.Way{Cut: true}, lan.Way{}},
	{"the link is cut towards the source", lan.Way{}, lan.Way{Cut: true}},
}

// F2, F5, B1, B2: failovers at random moments under load. Whatever happens to
// the link, the promoted point hashes right, the receipt of the old source is the
// model's list, its tail is a branch with the right content, and after the way
// back both sites hold the same. `make failovertest ROUNDS=50`.
func TestUnplannedFailovers(t *testing.T) {
	n := rounds(sized(len(disasters), 3))
	f := &tally{}
	defer func() {
		verdict(t, "%d rounds; %d writes on receipts, each the model's; %d whole-disk hashes; %d points changed, %d failovers cancelled",
			f.rounds, f.lost, f.hashes, f.changed, f.cancelled)
	}()
	inCycles(t, n, func(c *cycle, i int) { c.failoverRound(i, f) })
}

// tally is what the rounds have seen.
type tally struct{ rounds, lost, hashes, changed, cancelled int }

// failoverRound goes to the secondary in a disaster and back.
func (c *cycle) failoverRound(i int, f *tally) {
	c.Helper()
	start := time.Now()
	d := disasters[i%len(disasters)]
	lives := (d.to.Cut || d.from.Cut) && c.rng.IntN(2) == 0 // a source that is cut off may write on
	l := c.write(c.relay)
	c.grow(50 + c.rng.IntN(300))
	c.committed(c.floor())
	c.fromSource(d.to)
	c.toSource(d.from)
	c.grow(1 + c.rng.IntN(200))
	if !lives {
		c.site.Source.Kill()
		if <-l.done == nil {
			c.Fatal("the load did not notice the kill")
		}
	}
	prod := c.site.Targets[c.rng.IntN(len(c.site.Targets))]
	p, e, up := c.promoteAtRandom(prod, f)
	f.rounds++
	what := fmt.Sprintf("round %d: %s, source lives %v, %s promoted", i+1, d.name, lives, p)
	if c.rng.IntN(6) == 0 {
		c.cancelled(prod, lives, l)
		f.cancelled++
		c.Logf("%s, cancelled, %.1f s", what, time.Since(start).Seconds())
		return
	}
	c.must(c.model.Fork(e, p))
	there := c.attach(e, up)
	c.overwrite(there, 30+c.rng.IntN(150))
	c.must(c.site.Call(c.ctx, prod, nil, "failover", "commit", groupName))
	c.sourceReturns(lives)
	if lives {
		c.refused(l)
	}
	c.fenced()
	lost := c.exactReceipt(p)
	f.lost += len(lost)
	shipped := c.wayBack(prod, there, p, lost, f)
	c.Logf("%s, %d writes lost, shipped back %.4f x of what differs, %.1f s", what, len(lost), shipped, time.Since(start).Seconds())
}

// sourceReturns mends the link and the source.
func (c *cycle) sourceReturns(lives bool) {
	c.Helper()
	c.net.Heal()
	if !lives {
		c.must(c.site.Source.Start())
	}
}

// promoteAtRandom fails over to the newest point or one before it, and may
// choose again. It returns the point, its epoch and the disks.
func (c *cycle) promoteAtRandom(prod *site.Node, f *tally) (redoubt.Position, redoubt.Epoch, []*adminv1.Disk) {
	c.Helper()
	r := &adminv1.UnplannedFailoverResponse{}
	c.must(c.site.Call(c.ctx, prod, r, "failover", "unplanned", groupName, "--at", "latest"))
	p := at(r.Promotion.Position)
	latest := p
	c.knownHead(r.Promotion, p)
	up := r.Export.Disks
	c.judge(up, p)
	f.hashes += len(up)
	e := redoubt.Epoch(r.Promotion.Epoch)
	for c.rng.IntN(3) == 0 {
		c.scribble(up)
		p = latest
		if back := redoubt.LSN(c.rng.IntN(300)); c.rng.IntN(3) > 0 && p.LSN > c.floor()+back {
			p.LSN -= back
		}
		x := &adminv1.ChangeRecoveryPointResponse{}
		c.must(c.site.Call(c.ctx, prod, x, "failover", "change", groupName, "--at", p.String()))
		up, e = x.Export.Disks, redoubt.Epoch(x.Promotion.Epoch)
		c.judge(up, p)
		f.hashes += len(up)
		f.changed++
	}
	return p, e, up
}

// knownHead holds what a failover says of the source against the model.
func (c *cycle) knownHead(p *adminv1.Promotion, at redoubt.Position) {
	c.Helper()
	known := redoubt.LSN(p.KnownHeadLsn)
	if at.Epoch != c.epoch || at.LSN > c.head().LSN || known < at.LSN || known > c.head().LSN {
		c.Fatalf("promoted %s, the source known up to %d; it never wrote more than %s", at, known, c.head())
	}
	for _, x := range c.model.Changes(c.epoch, known-1, known) {
		when := p.KnownHeadTime.AsTime().UnixNano()
		if when < x.Sent || !x.Maybe() && when > x.Acked {
			c.Fatalf("the known head %d is said to be of %s, it was written between %s and %s", known, p.KnownHeadTime.AsTime(), time.Unix(0, x.Sent), time.Unix(0, x.Acked))
		}
	}
	if p.UnknownSince.AsTime().UnixNano() < p.KnownHeadTime.AsTime().UnixNano() {
		c.Fatalf("nothing is known since %s, but of the head at %s", p.UnknownSince.AsTime(), p.KnownHeadTime.AsTime())
	}
}

// floor is the first LSN of the source's epoch that can be opened.
func (c *cycle) floor() redoubt.LSN {
	cs := c.model.Changes(c.epoch, 0, ^redoubt.LSN(0))
	if len(cs) == 0 {
		return c.head().LSN
	}
	return cs[0].Position.LSN
}

// scribble writes what must vanish when another point is chosen.
func (c *cycle) scribble(up []*adminv1.Disk) {
	c.Helper()
	for _, d := range c.disks {
		x := disk(c.T, up, d.Name)
		k, err := oracle.Dial(c.ctx, x.Socket, x.Export)
		c.must(err)
		c.must(k.Write(slices.Repeat([]byte{0xA5}, 64<<10), 0, true))
		c.must(k.Close())
	}
}

// cancelled gives the group back and holds that the source goes on where it was.
func (c *cycle) cancelled(prod *site.Node, lives bool, l *load) {
	c.Helper()
	c.must(c.site.Call(c.ctx, prod, nil, "failover", "cancel", groupName))
	_, g, err := c.site.Status(c.ctx, prod)
	c.must(err)
	e := redoubt.Epoch(g.Epoch)
	c.sourceReturns(lives)
	c.writable(e)
	if lives {
		if err := l.stop(); err != nil && !errors.Is(err, syscall.EPERM) {
			c.Fatalf("a client of the source was told %v", err)
		}
	}
	c.anchorAt(c.site.Source, c.relay, false)
	c.settle(e, c.head())
	c.overwrite(c.relay, 20)
	c.anchorAt(c.site.Source, c.relay, false)
	c.committed(c.head().LSN)
	c.judgePoint(c.other(prod), c.head())
}

// wayBack returns the group to the primary and holds that both sites are equal.
// It returns what was shipped, in relation to what differs.
func (c *cycle) wayBack(prod *site.Node, there *oracle.Relay, fork redoubt.Position, lost []oracle.Placed, f *tally) float64 {
	c.Helper()
	r := &adminv1.ReverseReplicateResponse{}
	c.must(c.site.Call(c.ctx, prod, r, "reverse", groupName))
	if at(r.Fork) != fork || r.OrphanRecords != uint64(len(lost)) || r.Full {
		c.Fatalf("the way back is %v, want one from %s with %d orphans", r, fork, len(lost))
	}
	g := c.backInSync(prod)
	c.branchHolds(c.site.Targets[c.rng.IntN(len(c.site.Targets))], fork, len(lost))
	e := redoubt.Epoch(g.Epoch)
	differs := oracle.UniqueBytes(slices.Concat(lost, c.model.Changes(e, 0, ^redoubt.LSN(0))))
	if limit := differs + differs/20 + 4096; g.Reverse.RawBytes > limit {
		c.Fatalf("%d bytes were shipped back, %d differ", g.Reverse.RawBytes, differs)
	}
	c.anchorAt(prod, there, true) // the copy records
	c.overwrite(there, 10+c.rng.IntN(50))
	b := &adminv1.FailbackResponse{}
	c.must(c.site.Call(c.ctx, prod, b, "failback", groupName))
	last := redoubt.Position{Epoch: e, LSN: c.model.Head(e)}
	if at(b.Position) != last {
		c.Fatalf("failed back at %v, the last write of the secondary was %s", b.Position, last)
	}
	c.settle(redoubt.Epoch(b.Epoch), last)
	other := c.other(prod)
	c.judgePoint(other, last)
	c.judgePoint(other, fork)
	f.hashes += 3 * len(c.disks)
	return float64(g.Reverse.RawBytes) / float64(max(differs, 1))
}

func at(p *adminv1.Position) redoubt.Position {
	return redoubt.Position{Epoch: redoubt.Epoch(p.GetEpoch()), LSN: redoubt.LSN(p.GetLsn())}
}
