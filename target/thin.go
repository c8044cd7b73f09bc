package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/shards"
)

const (
	// worthwhile is the part of a segment's bytes that must be dead before what
	// is left is written anew: the price in space of not writing it more often.
	worthwhile = 0.15
	entryBytes = 48  // of a head
	thinBatch  = 256 // segments that one step looks at
	thinBytes  = 64 << 20
)

// thinner takes away the bytes that no retained point shows, step by step as
// the plan in the catalog says.
type thinner struct {
	s    *Store
	x    *reach
	plan *catalog.Plan
	comp *ship.Compressor

	batch uint64 // segments that one step looks at
}

// step looks at the next segments of the plan and commits what is left of them.
// A crash before the commit leaves shards that nobody names, and the step is
// done again; after it the plan stands behind the step.
func (t *thinner) step(ctx context.Context) error {
	w := t.plan.Work[0]
	g := t.x.g
	sr := shards.SeriesOf(g, w.Epoch)
	done := catalog.Work{Epoch: w.Epoch, From: w.From, To: w.From}
	var out []catalog.Replacement
	bytes := uint64(0)
	for _, sg := range t.s.catalog.Segments(g.ID, w.Epoch, w.From, int(min(t.batch, w.To-w.From))) {
		if bytes > thinBytes {
			break
		}
		n, changed, err := t.segment(ctx, sr, &sg)
		if err != nil {
			return err
		}
		if changed {
			out = append(out, catalog.Replacement{OldCRC: sg.CRC, Segment: n})
			bytes += uint64(n.Size)
			t.s.throttle(int64(n.ShardSize))
		}
		done.To = sg.Ordinal + 1
	}
	if done.To == done.From {
		return &redoubt.Error{Op: "thin segments of group", Object: string(g.ID), Err: fmt.Errorf("segment %d: %w", w.From, redoubt.ErrNotFound)}
	}
	_, err := t.s.node.Propose(ctx, catalog.ThinSegments{Group: g.ID, OwnerTerm: g.OwnerTerm, Epoch: g.Epoch, ID: t.plan.ID, Done: done, Segments: out})
	return err
}

// segment stores what is left of one segment, if that is worth it.
func (t *thinner) segment(ctx context.Context, sr index.Series, sg *catalog.Segment) (n catalog.Segment, changed bool, err error) {
	if sg.Gone() {
		return n, false, nil
	}
	head, err := t.s.shards.Head(ctx, sr, sg)
	if err != nil {
		return n, false, err
	}
	live, err := t.live(ctx, sr, sg, head)
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
	d, err := t.s.repair.Delta(ctx, sr, sg)
	if err != nil {
		return n, false, err
	}
	if d, err = d.Thin(func(i int) bool { return live[i] }, t.comp); err != nil {
		return n, false, err
	}
	err = t.s.storeThinned(ctx, sr, sg, d, &n)
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
func (t *thinner) live(ctx context.Context, sr index.Series, sg *catalog.Segment, d *ship.Delta) ([]bool, error) {
	live := make([]bool, len(d.Entries))
	for i := 0; i < len(d.Entries); {
		next, ok := t.x.next(redoubt.Position{Epoch: sg.Epoch, LSN: d.Entries[i].LSN})
		from, upto := i, next.LSN
		if next.Epoch != sg.Epoch {
			upto = always
		}
		for i < len(d.Entries) && (!ok || d.Entries[i].LSN <= upto) {
			if end, on := t.x.end[sg.Epoch]; !ok || next.Epoch != sg.Epoch {
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
		if err := t.group(ctx, sr, sg, d, from, i, next, live); err != nil {
			return nil, err
		}
	}
	return live, nil
}

// group finds the live ones of the entries [from, to), which all have the same
// next point.
func (t *thinner) group(ctx context.Context, sr index.Series, sg *catalog.Segment, d *ship.Delta, from, to int, next redoubt.Position, live []bool) error {
	var es []index.Entry
	var number []int
	for i := from; i < to; i++ {
		e := &d.Entries[i]
		switch {
		case e.Kind == redoubt.KindBookmark:
			live[i] = t.x.r.Has(redoubt.Position{Epoch: sg.Epoch, LSN: e.LSN})
		case e.Extent.Len > 0 && (e.Kind.Zeroes() || e.HasData()):
			es, number = append(es, indexEntry(e)), append(number, i)
		}
	}
	shown := index.Visible(es)
	spans := t.x.after(sg.Epoch, sg.Ordinal, next)
	if len(spans) == 0 {
		for _, v := range shown {
			live[number[v.Entry]] = true
		}
		return nil
	}
	later, err := t.s.idx.Prefix(ctx, spans)
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

// storeThinned makes the shards of d durable on nodes of its own, as many as
// the segment has now, and describes it in n.
func (s *Store) storeThinned(ctx context.Context, sr index.Series, old *catalog.Segment, d *ship.Delta, n *catalog.Segment) error {
	it := &item{d: d, seg: newSegment(d, old.Ordinal, int(old.K), int(old.M))}
	it.users.Store(1)
	defer it.leave()
	it.seg.FirstTime, it.seg.LastTime, it.seg.Baseline = old.FirstTime, old.LastTime, old.Baseline
	all, own, err := s.shards.Split(d.Encoded(), int(old.K), int(old.M))
	if err != nil {
		return err
	}
	it.own = own
	if it.seg.Nodes, err = s.shards.Homes(old); err != nil {
		return err
	}
	it.seg.Stored = s.putShards(ctx, sr, it, all)
	if got, want := ones(it.seg.Stored), max(ones(old.Stored), int(old.K)); got < want {
		return &redoubt.Error{Op: "store thinned segment", Object: shards.SegmentName(sr, old.Ordinal), Err: fmt.Errorf("%d shards are durable, it has %d: %w", got, want, redoubt.ErrUnavailable),
			Hint: "thinning goes on when enough nodes are up"}
	}
	*n = it.seg
	return nil
}
