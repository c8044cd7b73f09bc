package systest

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// partitions are the ways in which two sites that both live lose each other.
var partitions = []int{2, 3, 4} // of the disasters

// F4, B1, B2: the sites are cut off from each other, both live, and both write.
// When they meet again the old side is read-only and says so to clients in the
// middle of their writes, its tail is a branch with the right content, and after
// the way back both hold the same. `make splitbrain ROUNDS=20`.
func TestSplitBrain(t *testing.T) {
	n := rounds(sized(len(partitions), 1))
	f := &tally{}
	defer func() {
		verdict(t, "%d partitions; %d writes of the old side on receipts and in branches, each the model's; %d whole-disk hashes", f.rounds, f.lost, f.hashes)
	}()
	inCycles(t, n, func(c *cycle, i int) { c.splitRound(partitions[i%len(partitions)], f) })
}

// splitRound lets both sides write and brings them together again.
func (c *cycle) splitRound(kind int, f *tally) {
	c.Helper()
	d := disasters[kind]
	l := c.write(c.relay)
	c.grow(100)
	c.committed(c.floor())
	c.fromSource(d.to)
	c.toSource(d.from)
	prod := c.site.Targets[c.rng.IntN(len(c.site.Targets))]
	r := &adminv1.UnplannedFailoverResponse{}
	c.must(c.site.Call(c.ctx, prod, r, "failover", "unplanned", groupName))
	p, e := at(r.Promotion.Position), redoubt.Epoch(r.Promotion.Epoch)
	c.judge(r.Export.Disks, p)
	c.must(c.model.Fork(e, p))
	there := c.attach(e, r.Export.Disks)
	m := c.write(there)
	c.until(func() bool { return c.model.Head(e) > p.LSN+200 || len(l.done)+len(m.done) > 0 })
	if kind == 2 && c.head().LSN < p.LSN+50 { // cut off for good, it goes on
		c.grow(50)
	}
	c.must(m.stop())
	c.must(c.site.Call(c.ctx, prod, nil, "failover", "commit", groupName))
	c.net.Heal()
	c.refused(l)
	c.fenced()
	lost := c.exactReceipt(p)
	c.wayBack(prod, there, p, lost, f)
	f.rounds, f.lost = f.rounds+1, f.lost+len(lost)
	c.Logf("%s: promoted %s, %d writes of the old side, %d of the new one", d.name, p, len(lost), len(c.model.Changes(e, p.LSN, ^redoubt.LSN(0))))
}
