package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// ThinSegments replaces segments of a plan by what is left of them, in the
// plan's order. Done must begin where the plan's work begins; segments in it
// that are not named stay. Result: nil.
//
// ErrFenced: the plan is over, the owner or the epoch changed. ErrGap: it is not
// the plan's next step; look at the plan again. ErrUnavailable: a node that is
// named has left the cluster.
type ThinSegments struct {
	Group     redoubt.GroupID
	OwnerTerm uint64
	Epoch     redoubt.Epoch // the group's current one, when it was found out what is left
	ID        uint64
	Done      Work
	Segments  []Replacement
}

// Replacement is what is left of a segment: LSNs and times as they were, fewer
// bytes; of size 0 if nothing is left.
type Replacement struct {
	OldCRC  uint32 // of the delta that it replaces
	Segment Segment
}

func (c ThinSegments) kind() kind { return kindThinSegments }

func (c ThinSegments) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(c.OwnerTerm)
	e.uvar(uint64(c.Epoch))
	e.uvar(c.ID)
	e.work([]Work{c.Done})
	e.uvar(uint64(len(c.Segments)))
	for i := range c.Segments {
		e.u32(c.Segments[i].OldCRC)
		e.segment(&c.Segments[i].Segment)
	}
}

func decodeThinSegments(d *decoder) Command {
	c := ThinSegments{Group: d.groupID(), OwnerTerm: d.uvar(), Epoch: d.epoch(), ID: d.uvar()}
	if ws := d.work(); len(ws) == 1 {
		c.Done = ws[0]
	} else {
		d.bad("one stretch")
	}
	for range d.count(MaxBatch, "number of segments") {
		c.Segments = append(c.Segments, Replacement{OldCRC: d.u32(), Segment: d.segment()})
		if d.err != nil {
			break
		}
	}
	return c
}

func (c ThinSegments) check() error {
	if len(c.Segments) > MaxBatch {
		return invalid("thin segments of group", string(c.Group), "too many")
	}
	for i := range c.Segments {
		s := &c.Segments[i].Segment
		why := ""
		if s.Epoch != c.Done.Epoch || s.Ordinal < c.Done.From || s.Ordinal >= c.Done.To {
			why = "not of the stretch"
		} else if !s.Gone() {
			why = s.fault()
		} else if s.K != 0 || s.M != 0 || len(s.Nodes) != 0 || s.Stored != 0 || s.ShardSize != 0 || s.HeadLen != 0 {
			why = "nothing is left, but it has shards"
		}
		if why != "" {
			return invalid("thin segments of group", string(c.Group), fmt.Sprintf("segment %d: %s", s.Ordinal, why))
		}
	}
	return redoubt.ValidName("group", string(c.Group))
}

// Gone reports whether nothing is left of the segment: it has no shards.
func (s *Segment) Gone() bool { return s.Size == 0 }

func (c ThinSegments) apply(s *state) (any, error) {
	const op = "thin segments of group"
	g, r, err := s.plan(op, c.Group, c.OwnerTerm, c.ID)
	if err != nil {
		return nil, err
	}
	if c.Epoch != g.Epoch || r.Plan.Phase != PhaseThinning {
		return nil, fail(op, string(g.ID), fmt.Errorf("the group is at epoch %d: %w", g.Epoch, redoubt.ErrFenced), "")
	}
	first := r.Plan.Work[0]
	if c.Done.Epoch != first.Epoch || c.Done.From != first.From || c.Done.To > first.To {
		return nil, fail(op, string(g.ID), fmt.Errorf("the next step is at segment %d of epoch %d: %w", first.From, first.Epoch, redoubt.ErrGap), "")
	}
	h := s.history(g.ID, first.Epoch)
	for i := range c.Segments {
		if err := c.Segments[i].fits(s, g, h); err != nil {
			return nil, err
		}
	}
	n, p := *r, *r.Plan
	for i := range c.Segments {
		n.account(s, h, &c.Segments[i].Segment)
		s.replaceSegment(g.ID, h, &c.Segments[i].Segment)
	}
	p.Work = append([]Work(nil), p.Work...)
	if p.Work[0].From = c.Done.To; p.Work[0].From == p.Work[0].To {
		p.Work = p.Work[1:]
	}
	s.joinGone(h, c.Done, &n)
	n.Plan = &p
	if len(p.Work) == 0 {
		n.Plan = nil
	}
	s.retain[g.ID] = &n
	return nil, nil
}

func (c *Replacement) fits(s *state, g *Group, h *history) error {
	const op = "thin segments of group"
	sg := &c.Segment
	old := h.at(sg.Ordinal)
	if old.crc != c.OldCRC || old.size == 0 {
		return fail(op, string(g.ID), fmt.Errorf("segment %d is another one: %w", sg.Ordinal, redoubt.ErrGap), "")
	}
	if sg.First != old.first || sg.Last != old.last || sg.FirstTime != old.firstTime || sg.LastTime != old.lastTime || sg.Baseline != old.baseline {
		return invalid(op, string(g.ID), fmt.Sprintf("segment %d changes its place in the history", sg.Ordinal))
	}
	for _, id := range sg.Nodes {
		if n, ok := s.nodes[id]; !ok {
			return fail(op, string(g.ID), fmt.Errorf("node %s: %w", id, redoubt.ErrNotFound), "")
		} else if !n.State.Member() {
			return fail(op, string(g.ID), fmt.Errorf("node %s is %s: %w", id, n.State, redoubt.ErrUnavailable), "other nodes will do")
		}
	}
	return nil
}

// account counts what the replacement of one segment gives back.
func (r *Retention) account(s *state, h *history, sg *Segment) {
	old := h.at(sg.Ordinal)
	p := s.places.list[old.place]
	was := uint64(old.shardSize) * uint64(len(p.nodes))
	r.FreedBytes += was - min(was, uint64(sg.ShardSize)*uint64(len(sg.Nodes)))
	if sg.Gone() {
		r.DroppedSegments++
	}
}

// replaceSegment puts sg where another delta was. Shards of that one are needed
// nowhere any more, so their moves are over.
func (s *state) replaceSegment(id redoubt.GroupID, h *history, sg *Segment) {
	for shard := range s.places.list[h.at(sg.Ordinal).place].nodes {
		k := shardKey{epochKey{id, sg.Epoch}, sg.Ordinal, uint8(shard)}
		if to, planned := s.moves[k]; planned {
			s.away(to) // it may have the shard already
			delete(s.moves, k)
		}
	}
	at := s.places.intern(sg.K, sg.M, sg.Nodes)
	s.edit(h, sg.Ordinal, func(r *record) {
		r.size, r.headLen, r.shardSize, r.crc, r.stored, r.place = sg.Size, sg.HeadLen, sg.ShardSize, sg.CRC, uint32(sg.Stored), at
	})
}
