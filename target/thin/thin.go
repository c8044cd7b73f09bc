package thin

import (
	"context"
	"fmt"
	"math"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/history"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

const (
	// worthwhile is the part of a segment's bytes that must be dead before what
	// is left is written anew: the price in space of not writing it more often.
	worthwhile = 0.15
	entryBytes = 48 // of a head
	thinBytes  = 64 << 20
)

// worker takes away the bytes that no retained point shows, step by step as
// the plan in the catalog says.
type worker struct {
	th   *Thinner
	g    *catalog.Group
	r    *catalog.Retention
	x    *history.Reach
	plan *catalog.Plan
	comp *ship.Compressor
}

// step looks at the next segments of the plan and commits what is left of them.
// A crash before the commit leaves shards that nobody names, and the step is
// done again; after it the plan stands behind the step.
func (k *worker) step(ctx context.Context) error {
	w := k.plan.Work[0]
	g := k.g
	sr := shards.SeriesOf(g, w.Epoch)
	done := catalog.Work{Epoch: w.Epoch, From: w.From, To: w.From}
	var out []catalog.Replacement
	bytes := uint64(0)
	for _, sg := range k.th.o.Catalog.Segments(g.ID, w.Epoch, w.From, int(min(k.th.o.Batch, w.To-w.From))) {
		if bytes > thinBytes {
			break
		}
		n, changed, err := k.segment(ctx, sr, &sg)
		if err != nil {
			return err
		}
		if changed {
			out = append(out, catalog.Replacement{OldCRC: sg.CRC, Segment: n})
			bytes += uint64(n.Size)
			k.th.throttle(int64(n.ShardSize))
		}
		done.To = sg.Ordinal + 1
	}
	if done.To == done.From {
		return &redoubt.Error{Op: "thin segments of group", Object: string(g.ID), Err: fmt.Errorf("segment %d: %w", w.From, redoubt.ErrNotFound)}
	}
	_, err := k.th.o.Cluster.Propose(ctx, catalog.ThinSegments{Group: g.ID, OwnerTerm: g.OwnerTerm, Epoch: g.Epoch, ID: k.plan.ID, Done: done, Segments: out})
	return err
}

// segment stores what is left of one segment, if that is worth it.
func (k *worker) segment(ctx context.Context, sr index.Series, sg *catalog.Segment) (n catalog.Segment, changed bool, err error) {
	if sg.Gone() {
		return n, false, nil
	}
	head, err := k.th.o.Shards.Head(ctx, sr, sg)
	if err != nil {
		return n, false, err
	}
	live, err := k.live(ctx, sr, sg, head)
	if err != nil {
		return n, false, err
	}
	left, saved := measure(head, live)
	n = catalog.Segment{Epoch: sg.Epoch, Ordinal: sg.Ordinal, First: sg.First, Last: sg.Last, FirstTime: sg.FirstTime, LastTime: sg.LastTime, Baseline: sg.Baseline, CRC: sg.CRC}
	if left == 0 {
		return n, true, nil
	}
	if saved < worthwhile*float64(sg.Size) {
		return n, false, nil
	}
	d, err := k.th.o.Delta(ctx, sr, sg)
	if err != nil {
		return n, false, err
	}
	if d, err = d.Thin(func(i int) bool { return live[i] }, k.comp); err != nil {
		return n, false, err
	}
	n, err = k.th.o.Put(ctx, sr, sg, d)
	return n, err == nil, err
}

// measure counts the live entries, and the encoded bytes that go with the others.
func measure(d *ship.Delta, live []bool) (left int, saved float64) {
	type spot struct{ block, off uint32 }
	shown := map[spot]bool{} // data that is there; true: a live entry's. Several entries may share it
	for i := range d.Entries {
		e := &d.Entries[i]
		if live[i] {
			left++
		} else {
			saved += entryBytes
		}
		if e.HasData() {
			p := spot{e.Block, e.BlockOff}
			shown[p] = shown[p] || live[i]
		}
	}
	dead, all := make([]uint64, len(d.Blocks())), make([]uint64, len(d.Blocks()))
	for i := range d.Entries {
		e := &d.Entries[i]
		p := spot{e.Block, e.BlockOff}
		keep, first := shown[p]
		if !e.HasData() || !first {
			continue
		}
		delete(shown, p)
		if all[e.Block] += uint64(e.DataLen); !keep {
			dead[e.Block] += uint64(e.DataLen)
		}
	}
	for i, b := range d.Blocks() {
		if all[i] > 0 {
			saved += float64(b.Len) * float64(dead[i]) / float64(all[i])
		}
	}
	return left, saved
}

// live finds the entries that a retained point shows.
func (k *worker) live(ctx context.Context, sr index.Series, sg *catalog.Segment, d *ship.Delta) ([]bool, error) {
	live := make([]bool, len(d.Entries))
	for i := 0; i < len(d.Entries); {
		next, ok := k.x.Next(redoubt.Position{Epoch: sg.Epoch, LSN: d.Entries[i].LSN})
		from, upto := i, next.LSN
		if next.Epoch != sg.Epoch {
			upto = math.MaxUint64 // later than any write
		}
		for i < len(d.Entries) && (!ok || d.Entries[i].LSN <= upto) {
			if end, on := k.x.End(sg.Epoch); !ok || next.Epoch != sg.Epoch {
				// Beyond the trunk's end another line begins.
				if on && d.Entries[from].LSN <= end && d.Entries[i].LSN > end {
					break
				}
			}
			i++
		}
		if !ok {
			continue // no point shows them
		}
		if err := k.group(ctx, sr, sg, d, from, i, next, live); err != nil {
			return nil, err
		}
	}
	return live, nil
}

// group finds the live ones of the entries [from, to), which all have the same
// next point.
func (k *worker) group(ctx context.Context, sr index.Series, sg *catalog.Segment, d *ship.Delta, from, to int, next redoubt.Position, live []bool) error {
	var es []index.Entry
	var number []int
	for i := from; i < to; i++ {
		e := &d.Entries[i]
		switch {
		case e.Kind == redoubt.KindBookmark:
			live[i] = k.r.Has(redoubt.Position{Epoch: sg.Epoch, LSN: e.LSN})
		case e.Extent.Len > 0 && (e.Kind.Zeroes() || e.HasData()):
			es, number = append(es, shards.Entry(e)), append(number, i)
		}
	}
	shown := index.Visible(es)
	spans := k.x.After(sg.Epoch, sg.Ordinal, next)
	if len(spans) == 0 {
		for _, v := range shown {
			live[number[v.Entry]] = true
		}
		return nil
	}
	later, err := k.th.o.Index.Prefix(ctx, spans)
	if err != nil {
		return err
	}
	for _, v := range shown {
		if live[number[v.Entry]] {
			continue
		}
		pieces, err := later.Lookup(ctx, v.Disk, v.Extent)
		if err != nil {
			return err
		}
		for i := range pieces {
			if pieces[i].Kind == index.Hole {
				live[number[v.Entry]] = true
			}
		}
	}
	return nil
}
