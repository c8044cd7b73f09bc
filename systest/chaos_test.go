package systest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

const (
	spareHosts = 6               // for nodes that replace wiped ones
	settleTime = 3 * time.Minute // for the lag to be back at zero when all is well again
	memoryMax  = 1 << 30         // of any daemon, in bytes
	sampleWait = 2 * time.Second
	checkWait  = 8 * time.Second
)

// R1, R3, T3, T5: nodes are killed, paused, wiped and cut off from each other at
// random, in one direction too, while a disk is written. No point that was
// committed is lost or changed, the lag comes back to zero, and memory stays
// bounded. `make chaos SECONDS=600`.
func TestChaos(t *testing.T) {
	d := time.Duration(sized(20, 10)) * time.Second
	if *judgeTime > 0 {
		d = *judgeTime
	}
	o := site.Options{Targets: 3}
	c := &chaos{cycle: &cycle{net: newLAN(t, &o, 1500, spareHosts), epoch: 1, pace: 10 * time.Millisecond}, memory: map[string]int64{}, counts: map[string]int{}}
	mix := oracle.DefaultMix()
	mix.MaxLen = 64 << 10
	c.bed = newBedWith(t, o, mix, redoubt.Disk{ID: 1, Name: "a", Size: 24 << 20}, redoubt.Disk{ID: 2, Name: "b", Size: 8<<20 + 512})
	defer func() {
		verdict(t, "%s of chaos: %v; %d changes, %d sampled points, %d hashed meanwhile (%d could not be opened then) and %d at the end; the lag was zero after %.1f s, redundancy whole after %.1f s; memory %s",
			d, c.counts, len(c.model.Changes(1, 0, ^redoubt.LSN(0))), len(c.samples), c.checked, c.shut, c.atEnd, c.lagZero.Seconds(), c.whole.Seconds(), c.memoryText())
	}()
	c.run(time.Now().Add(d))
	c.end()
}

// chaos is a site to which bad things happen.
type chaos struct {
	*cycle
	active  []*fault
	counts  map[string]int
	l       *load
	samples []sample
	memory  map[string]int64 // most that a daemon had, by role

	checked, shut, atEnd int
	lagZero, whole       time.Duration
}

// sample is a point and what its disks hash to, noted when it was made.
type sample struct {
	p      redoubt.Position
	hashes []oracle.Hash
}

// run lets things happen until the end, and then mends everything.
func (c *chaos) run(end time.Time) {
	c.Helper()
	var nextSample, nextCheck time.Time
	nextFault := time.Now().Add(2 * time.Second)
	for time.Now().Before(end) {
		c.mend(time.Now())
		c.keepLoading()
		switch now := time.Now(); {
		case now.After(nextFault):
			c.breakSomething()
			nextFault = now.Add(time.Duration(500+c.rng.IntN(4000)) * time.Millisecond)
		case now.After(nextSample):
			c.sample()
			nextSample = now.Add(sampleWait)
		case now.After(nextCheck):
			c.check()
			nextCheck = now.Add(checkWait)
		}
		c.weigh()
		time.Sleep(50 * time.Millisecond) // chaos keeps its own time
	}
	c.mend(time.Time{})
	c.keepLoading()
}

// end waits for the site to recover, and holds every sample.
func (c *chaos) end() {
	c.Helper()
	start := time.Now()
	if err := c.l.stop(); err != nil {
		c.Fatalf("the load: %v", err)
	}
	c.anchor()
	last := c.head()
	_, err := c.site.Wait(c.ctx, c.site.Source, settleTime, "the lag to be zero", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if got := redoubt.LSN(g.GetCommitted().GetLsn()); got < last.LSN {
			return fmt.Errorf("committed is %d of %d; link %v", got, last.LSN, g.GetLink())
		}
		return nil
	})
	c.must(err)
	c.lagZero = time.Since(start)
	_, err = c.site.Wait(c.ctx, c.site.Targets[0], settleTime, "full redundancy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if d := g.GetRedundancy().GetDegradedSegments(); g == nil || d != 0 {
			return fmt.Errorf("%d segments lack a shard", d)
		}
		return nil
	})
	c.must(err)
	c.whole = time.Since(start)
	c.judgeSource()
	c.judgePoint(c.site.Targets[c.rng.IntN(len(c.site.Targets))], last)
	for i, s := range c.samples {
		if i%max(len(c.samples)/100, 1) != 0 {
			continue // a hundred are enough
		}
		if err := c.holds(c.site.Targets[c.rng.IntN(len(c.site.Targets))], s); err != nil {
			c.Fatalf("point %s was committed: %v", s.p, err)
		}
		c.atEnd++
	}
	c.weigh()
	for role, n := range c.memory {
		if n > memoryMax {
			c.Errorf("a %s had %d MiB of memory", role, n>>20)
		}
	}
}

// sample notes what the disks hold now.
func (c *chaos) sample() {
	c.Helper()
	if c.busy(c.site.Source) || c.relay.Err() != nil {
		return
	}
	c.anchor()
	s := sample{p: c.head()}
	c.must(c.state.Seek(s.p))
	for _, d := range c.disks {
		h, err := c.state.Hash(d.ID)
		c.must(err)
		s.hashes = append(s.hashes, h)
	}
	c.samples = append(c.samples, s)
}

// check opens a sample that is committed. While nodes are away it may not open,
// but never with other bytes.
func (c *chaos) check() {
	c.Helper()
	n := c.free(c.site.Targets)
	if n == nil || len(c.samples) == 0 {
		return
	}
	_, g, err := c.site.Status(c.ctx, n)
	if err != nil {
		return
	}
	i := slices.IndexFunc(c.samples, func(s sample) bool { return s.p.LSN > redoubt.LSN(g.GetCommitted().GetLsn()) })
	if i < 0 {
		i = len(c.samples)
	}
	if i == 0 {
		return
	}
	s := c.samples[c.rng.IntN(i)]
	err = c.holds(n, s)
	switch {
	case errors.Is(err, errChanged):
		c.Fatalf("point %s: %v", s.p, err)
	case err != nil:
		c.shut++
	default:
		c.checked++
	}
}

var errChanged = errors.New("it has CHANGED")

// holds opens a sampled point and compares hashes.
func (c *chaos) holds(n *site.Node, s sample) error {
	r := &adminv1.TestFailoverResponse{}
	if err := c.site.Call(c.ctx, n, r, "failover", "test", groupName, "--at", s.p.String(), "--timeout", "20s"); err != nil {
		return err
	}
	err := c.sameHashes(r.Export.Disks, s)
	return errors.Join(err, c.site.Call(c.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id, "--timeout", "20s"))
}

func (c *chaos) sameHashes(exported []*adminv1.Disk, s sample) error {
	for i, d := range c.disks {
		x := disk(c.T, exported, d.Name)
		k, err := oracle.Dial(c.ctx, x.Socket, x.Export)
		if err != nil {
			return err
		}
		h := sha256.New()
		if err := errors.Join(k.CopyTo(h), k.Close()); err != nil {
			return err
		}
		if oracle.Hash(h.Sum(nil)) != s.hashes[i] {
			return fmt.Errorf("disk %s: %w", d.Name, errChanged)
		}
	}
	return nil
}

// keepLoading starts the load again when the source serves again.
func (c *chaos) keepLoading() {
	c.Helper()
	if c.l != nil && len(c.l.done) == 0 || c.busy(c.site.Source) {
		return
	}
	if c.relay.Err() != nil { // it was killed: nothing that was answered may be gone
		g, err := c.site.Wait(c.ctx, c.site.Source, patience, "the source to serve again", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
				return errors.New("no disk yet")
			}
			return nil
		})
		c.must(err)
		if g.GetReadOnly() {
			c.Fatalf("the source is read-only: %s", g.ReadOnlyReason)
		}
		c.anchor()
		c.relay.Resume()
	}
	c.l = c.write(c.relay)
}
