package catalog

import (
	"cmp"
	"fmt"
	"math/bits"

	"github.com/redoubt-dr/redoubt"
)

// CommitSegments makes the points of stored segments exist. Result:
// []CommitResult, one per batch in their order; batches stand or fall alone.
type CommitSegments struct{ Batches []SegmentBatch }

// SegmentBatch is consecutive segments of one group's current epoch.
//
// ErrFenced: the epoch or the owner term is over. ErrGap: the batch does not
// follow what is committed. Segments that are committed already change nothing.
type SegmentBatch struct {
	Group     redoubt.GroupID
	Epoch     redoubt.Epoch
	OwnerTerm uint64
	Segments  []Segment // each of Epoch, ordinals and LSNs without gaps
}

func (c CommitSegments) kind() kind { return kindCommitSegments }

func (c CommitSegments) encode(e *encoder) {
	e.uvar(uint64(len(c.Batches)))
	for _, b := range c.Batches {
		e.str(string(b.Group))
		e.uvar(uint64(b.Epoch))
		e.uvar(b.OwnerTerm)
		e.uvar(uint64(len(b.Segments)))
		for i := range b.Segments {
			e.segment(&b.Segments[i])
		}
	}
}

func decodeCommitSegments(d *decoder) Command {
	var c CommitSegments
	total := 0
	for range d.count(MaxBatch, "number of batches") {
		b := SegmentBatch{Group: d.groupID(), Epoch: d.epoch(), OwnerTerm: d.uvar()}
		n := d.count(MaxBatch-total, "number of segments")
		total += n
		for range n {
			b.Segments = append(b.Segments, d.segment())
		}
		c.Batches = append(c.Batches, b)
		if d.err != nil {
			break
		}
	}
	return c
}

func (c CommitSegments) check() error {
	total := 0
	for _, b := range c.Batches {
		if err := redoubt.ValidName("group", string(b.Group)); err != nil {
			return err
		}
		total += len(b.Segments)
		for i := range b.Segments {
			if why := b.Segments[i].fault(); why != "" || b.Segments[i].Epoch != b.Epoch {
				return invalid("commit segments of group", string(b.Group), fmt.Sprintf("segment %d: %s", i, why))
			}
		}
	}
	if len(c.Batches) == 0 || len(c.Batches) > MaxBatch || total > MaxBatch {
		return invalid("commit segments", "", fmt.Sprintf("%d batches of %d segments", len(c.Batches), total))
	}
	return nil
}

// fault says what is wrong with the segment by itself; "" if nothing.
func (s *Segment) fault() string {
	n := int(s.K) + int(s.M)
	switch {
	case s.Epoch == 0 || s.First == 0 || s.Last < s.First:
		return "bad position"
	case s.LastTime < s.FirstTime:
		return "times fall"
	case s.K == 0 || n > MaxShards || len(s.Nodes) != n:
		return "bad number of shards"
	case s.Size == 0 || s.Size > MaxSegmentSize || s.HeadLen > s.Size:
		return "bad size"
	case uint64(s.ShardSize)*uint64(s.K) < uint64(s.Size):
		return "shards too small"
	case s.Stored>>n != 0:
		return "a shard is stored that does not exist"
	case bits.OnesCount64(s.Stored) < int(s.K):
		return "fewer shards are durable than a read needs"
	case s.Baseline != 0 && s.Baseline < s.First:
		return "bad baseline"
	}
	for i, id := range s.Nodes {
		if redoubt.ValidName("node", string(id)) != nil {
			return "bad node name"
		}
		for _, other := range s.Nodes[:i] {
			if other == id {
				return "two shards on one node"
			}
		}
	}
	return ""
}

func (c CommitSegments) apply(s *state) (any, error) {
	out := make([]CommitResult, 0, len(c.Batches))
	for i := range c.Batches {
		r := CommitResult{Group: c.Batches[i].Group}
		r.Err = c.Batches[i].apply(s)
		if g, ok := s.groups[r.Group]; ok {
			r.Committed = g.Committed
		}
		out = append(out, r)
	}
	return out, nil
}

func (b *SegmentBatch) apply(s *state) error {
	const op = "commit segments of group"
	g, err := s.groupAt(op, b.Group, b.Epoch)
	if err != nil {
		return err
	}
	if b.OwnerTerm != g.OwnerTerm {
		return fail(op, string(b.Group), fmt.Errorf("owner term %d, the present one is %d: %w", b.OwnerTerm, g.OwnerTerm, redoubt.ErrFenced),
			"the group's stream belongs to node "+string(g.Owner))
	}
	if g.State == StateUnprotected {
		return fail(op, string(b.Group), fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), "protect it first")
	}
	h := s.history(g.ID, g.Epoch)
	ordinal, lsn := h.len(), g.Committed.LSN
	at := int64(-1 << 63)
	if ordinal > 0 {
		at = h.at(ordinal - 1).lastTime
	}
	base, again := g.Baseline, redoubt.LSN(0)
	segs := b.Segments
	for len(segs) > 0 && segs[0].Last <= lsn {
		segs = segs[1:] // committed already
	}
	for i := range segs {
		sg := &segs[i]
		if sg.First != lsn+1 || sg.Ordinal != ordinal {
			return fail(op, string(b.Group), fmt.Errorf("segment %d begins at LSN %d, expected segment %d at %d: %w",
				sg.Ordinal, sg.First, ordinal, lsn+1, redoubt.ErrGap), "")
		}
		if sg.FirstTime < at {
			return invalid(op, string(b.Group), fmt.Sprintf("the times of segment %d fall", sg.Ordinal))
		}
		for _, id := range sg.Nodes {
			if n, ok := s.nodes[id]; !ok {
				return fail(op, string(b.Group), fmt.Errorf("node %s: %w", id, redoubt.ErrNotFound), "")
			} else if !n.State.Member() {
				return fail(op, string(b.Group), fmt.Errorf("node %s is %s: %w", id, n.State, redoubt.ErrUnavailable), "other nodes will do")
			}
		}
		if base == 0 {
			base = sg.Baseline // a later copy does not take points away
		}
		again = cmp.Or(again, sg.Baseline)
		ordinal, lsn, at = ordinal+1, sg.Last, sg.LastTime
	}
	if len(segs) == 0 {
		return nil
	}
	_, behind := s.hidden(g, g.Committed)
	behind = behind || s.openGap(g.ID, g.Epoch) >= 0
	for i := range segs {
		s.addSegment(g.ID, &segs[i])
		if segs[i].Baseline != 0 {
			s.closeGap(g, &segs[i])
		}
	}
	n := *g
	n.Committed.LSN, n.CommittedTime, n.Baseline = lsn, at, base
	n.settle()
	s.regain(&n, again)
	if _, in := s.hidden(&n, n.Committed); behind && !in {
		n.catchUp(StateResyncing, StateProtected)
	}
	s.put(&n)
	return nil
}

// ShardsStored tells that shards became durable on Node after their segment was
// committed (a repair), or, with Lost, that they were found missing or rotten
// there. All or none. Result: nil. Nobody proposes it any more, see ReportShards;
// it may be in a log.
type ShardsStored struct {
	Node   redoubt.NodeID
	Lost   bool
	Shards []ShardRef
}

// ShardRef names one shard.
type ShardRef struct {
	Group   redoubt.GroupID
	Epoch   redoubt.Epoch
	Ordinal uint64
	Shard   uint8
}

func (c ShardsStored) kind() kind { return kindShardsStored }

func (c ShardsStored) encode(e *encoder) {
	e.str(string(c.Node))
	e.bool(c.Lost)
	e.uvar(uint64(len(c.Shards)))
	for _, r := range c.Shards {
		e.shardRef(r)
	}
}

func decodeShardsStored(d *decoder) Command {
	c := ShardsStored{Node: redoubt.NodeID(d.str(maxName, "node")), Lost: d.bool()}
	for range d.count(MaxBatch, "number of shards") {
		c.Shards = append(c.Shards, d.shardRef())
		if d.err != nil {
			break
		}
	}
	return c
}

func (c ShardsStored) check() error {
	if len(c.Shards) == 0 || len(c.Shards) > MaxBatch {
		return invalid("record shards of node", string(c.Node), fmt.Sprintf("%d shards", len(c.Shards)))
	}
	return redoubt.ValidName("node", string(c.Node))
}

func (c ShardsStored) apply(s *state) (any, error) {
	for _, r := range c.Shards {
		h, ok := s.epochs[epochKey{r.Group, r.Epoch}]
		if !ok || r.Ordinal >= h.len() {
			return nil, fail("record shards of node", string(c.Node),
				fmt.Errorf("segment %s/%d/%d: %w", r.Group, r.Epoch, r.Ordinal, redoubt.ErrNotFound), "")
		}
		p := s.places.list[h.at(r.Ordinal).place]
		if int(r.Shard) >= len(p.nodes) || p.nodes[r.Shard] != c.Node {
			return nil, invalid("record shards of node", string(c.Node),
				fmt.Sprintf("shard %d of segment %s/%d/%d does not belong there", r.Shard, r.Group, r.Epoch, r.Ordinal))
		}
	}
	for _, r := range c.Shards {
		h := s.epochs[epochKey{r.Group, r.Epoch}]
		s.edit(h, r.Ordinal, func(rec *record) {
			rec.stored |= 1 << r.Shard
			if c.Lost {
				rec.stored &^= 1 << r.Shard
			}
		})
	}
	return nil, nil
}
