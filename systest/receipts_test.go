package systest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// exactReceipt holds the loss receipt against the model: every write of the old
// source behind the promoted point and nothing else, as JSON and as a table,
// from the source and from the secondary. It returns the lost writes.
func (c *cycle) exactReceipt(fork redoubt.Position) []oracle.Placed {
	c.Helper()
	r := c.wholeReceipt(c.site.Source)
	// The change that was on its way at the kill is in the journal or not: its head tells.
	head := at(r.OldHead)
	if drift, err := c.model.Anchor(c.epoch, head.LSN); err != nil || drift != 0 || head.Epoch != c.epoch {
		c.Fatalf("the old source's head is %s: %+d LSNs from what it had answered (%v)", head, drift, err)
	}
	lost := c.model.Changes(c.epoch, fork.LSN, head.LSN)
	// The source has the end of the list; the secondary, which kept the rest, all of it.
	c.must(sameReceipt(r, fork, lost[min(int(r.KeptElsewhere), len(lost)):]))
	any := c.site.Targets[c.rng.IntN(len(c.site.Targets))]
	c.must(sameReceipt(c.wholeReceipt(any), fork, lost))
	out, err := c.site.Run(c.ctx, "--socket", any.AdminSocket(), "failover", "receipt", groupName, "--max", "100000")
	c.must(err)
	c.must(sameTable(out, lost))
	return lost
}

// wholeReceipt waits until a node has the exact receipt.
func (c *cycle) wholeReceipt(n *site.Node) *adminv1.LossReceipt {
	c.Helper()
	r := &adminv1.GetLossReceiptResponse{}
	c.wait(n, "the complete receipt", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		r.Reset()
		if err := c.site.Call(c.ctx, n, r, "failover", "receipt", groupName, "--max", "100000"); err != nil {
			return err
		}
		if !r.Receipt.GetComplete() {
			return errors.New("it is a bound only")
		}
		return nil
	})
	return r.Receipt
}

func sameReceipt(r *adminv1.LossReceipt, fork redoubt.Position, lost []oracle.Placed) error {
	var bytes uint64
	for _, x := range lost {
		bytes += x.Extent.Len
	}
	if at(r.Fork) != fork || r.Records != uint64(len(lost)) || len(r.Writes) != len(lost) || r.Bytes != bytes || r.Truncated {
		return fmt.Errorf("the receipt has %d writes (%d listed) of %d bytes after %v; the model %d of %d after %s",
			r.Records, len(r.Writes), r.Bytes, r.Fork, len(lost), bytes, fork)
	}
	for i, x := range lost {
		if err := sameWrite(r.Writes[i], x); err != nil {
			return fmt.Errorf("write %d of the receipt: %w", i, err)
		}
	}
	return sameExtents(r.Disks, lost)
}

func sameWrite(g *adminv1.LostWrite, x oracle.Placed) error {
	when := g.GetTime().AsTime().UnixNano()
	late := !x.Maybe() && when > x.Acked
	if redoubt.LSN(g.Lsn) != x.Position.LSN || redoubt.DiskID(g.Disk) != x.Disk || zeroing(g.Kind) != zeroing(x.Kind.String()) ||
		g.GetExtent().GetOff() != x.Extent.Off || g.GetExtent().GetLen() != x.Extent.Len || when < x.Sent || late {
		return fmt.Errorf("it is %v, the model has %s disk %d %s %s, sent at %d and answered at %d", g, x.Position, x.Disk, x.Kind, x.Extent, x.Sent, x.Acked)
	}
	return nil
}

// zeroing is a kind of change: a WRITE_ZEROES that may leave a hole is a trim.
func zeroing(kind string) string { return strings.Replace(kind, "trim", "zero", 1) }

// sameExtents holds the merged extents of each disk against the writes.
func sameExtents(got []*adminv1.DiskExtents, lost []oracle.Placed) error {
	want := map[redoubt.DiskID][]redoubt.Extent{}
	for _, x := range lost {
		want[x.Disk] = append(want[x.Disk], x.Extent)
	}
	if len(got) != len(want) {
		return fmt.Errorf("the receipt names %d disks, the model %d", len(got), len(want))
	}
	for _, d := range got {
		es := merge(want[redoubt.DiskID(d.Disk)])
		bytes := uint64(0)
		for i, e := range es {
			bytes += e.Len
			if i < len(d.Extents) && (d.Extents[i].Off != e.Off || d.Extents[i].Len != e.Len) {
				return fmt.Errorf("extent %d of disk %s is %v, the model has %s", i, d.Name, d.Extents[i], e)
			}
		}
		if len(d.Extents) != len(es) || d.Bytes != bytes || d.Truncated {
			return fmt.Errorf("disk %s: %d extents of %d bytes, the model has %d of %d", d.Name, len(d.Extents), d.Bytes, len(es), bytes)
		}
	}
	return nil
}

// merge joins extents that touch.
func merge(es []redoubt.Extent) (out []redoubt.Extent) {
	slices.SortFunc(es, func(a, b redoubt.Extent) int { return cmp.Compare(a.Off, b.Off) })
	for _, e := range es {
		if n := len(out); n > 0 && e.Off <= out[n-1].End() {
			out[n-1].Len = max(out[n-1].End(), e.End()) - out[n-1].Off
			continue
		}
		out = append(out, e)
	}
	return out
}

// sameTable looks for each lost write in what the operator reads.
func sameTable(text string, lost []oracle.Placed) error {
	rows := map[string]bool{}
	for line := range strings.Lines(text) {
		rows[zeroing(strings.Join(strings.Fields(line), " "))] = true
	}
	names := map[redoubt.DiskID]string{1: "a", 2: "b"}
	for _, x := range lost {
		head := x.Position.LSN.String() + " "
		tail := fmt.Sprintf(" %s %s %d %d", names[x.Disk], zeroing(x.Kind.String()), x.Extent.Off, x.Extent.Len)
		found := false
		for row := range rows {
			found = found || strings.HasPrefix(row, head) && strings.HasSuffix(row, tail)
		}
		if !found {
			return fmt.Errorf("no row %s…%s in the table", head, tail)
		}
	}
	return nil
}
