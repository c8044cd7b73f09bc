package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Operate carries out Pause, Resume, Unprotect, Protect or DeletePoints.
// Result: the Group.
//
// Protect begins a new epoch at what is committed, with the source as its
// writer: the source copies its disks whole into it. Points from before stay,
// those in between do not exist (see Standing.Gap). DeletePoints begins a new
// epoch too, with a history of its own: so nothing of before is ever taken for
// something of after, and every node deletes its shards when it hears of it.
//
// ErrState if the table does not allow it, and for DeletePoints under a hold
// or an open test failover; ErrFenced if the epoch is over.
type Operate struct {
	Group  redoubt.GroupID
	Epoch  redoubt.Epoch // the current one
	Op     Operation
	By     string // who asks
	Reason string
	Now    int64
}

func (c Operate) kind() kind { return kindOperate }

func (c Operate) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.u8(uint8(c.Op))
	e.str(c.By)
	e.str(c.Reason)
	e.i64(c.Now)
}

func decodeOperate(d *decoder) Command {
	return Operate{Group: d.groupID(), Epoch: d.epoch(), Op: Operation(d.u8()), By: d.str(maxAddr, "name"), Reason: d.str(maxReason, "reason"), Now: d.i64()}
}

func (c Operate) check() error {
	if len(c.By) > maxAddr || len(c.Reason) > maxReason {
		return invalid("operate on group", string(c.Group), fmt.Sprintf("the reason is longer than %d bytes", maxReason))
	}
	switch c.Op {
	case OpProtect, OpUnprotect, OpPause, OpResume, OpDeletePoints:
		return redoubt.ValidName("group", string(c.Group))
	}
	return invalid("operate on group", string(c.Group), c.Op.String()+" has a command of its own")
}

func (c Operate) apply(s *state) (any, error) {
	g, err := s.groupAt("operate on group", c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	next, err := g.step(c.Op)
	if err != nil {
		return nil, err
	}
	n, st := *g, s.standing(g.ID)
	switch c.Op {
	case OpPause:
		n.State, n.Prior = next, g.State
		st.By, st.Since, st.Reason = c.By, c.Now, c.Reason
	case OpResume:
		n.State = next
		st.By, st.Since, st.Reason = "", 0, ""
	case OpUnprotect:
		n.State, st.Gap = next, false
		st.By, st.Since, st.Reason = c.By, c.Now, c.Reason
	case OpDeletePoints:
		if err := s.erase(&n, &st, c.Now); err != nil {
			return nil, err
		}
	case OpProtect:
		n.begin(s, redoubt.Fork{Epoch: g.Epoch + 1, Parent: g.Epoch, At: g.Committed.LSN}, SourceWriter(g.Source), next)
		st.By, st.Since, st.Reason = "", 0, ""
		st.Anew, st.Gap = n.Epoch, g.Baseline != 0
		if st.Gap {
			s.hideEpoch(&n)
		}
	}
	n.settle()
	s.stands[g.ID] = &st
	return s.put(&n), nil
}

// erase takes a group's whole history out of the catalog. The nodes delete
// what they have of it by themselves; EraseDone says that one has.
func (s *state) erase(g *Group, st *Standing, now int64) error {
	if err := s.erasable(g); err != nil {
		return err
	}
	for _, f := range g.Lineage {
		key := epochKey{g.ID, f.Epoch}
		h := s.history(g.ID, f.Epoch)
		st.ErasedSegments += h.len() - h.tally.gone
		st.ErasedBytes += h.tally.bytes
		for i := range h.len() {
			s.count(h, h.at(i), -1)
		}
		delete(s.epochs, key)
	}
	for k := range s.moves {
		if k.group == g.ID {
			delete(s.moves, k)
		}
	}
	delete(s.resized, g.ID) // the disks are as they are
	r := *s.retention(g.ID)
	r.Pins, r.Marks, r.Tracks, r.Plan = nil, nil, nil, nil
	r.Gen++
	s.retain[g.ID] = &r
	g.Epoch++
	g.Lineage = redoubt.Lineage{{Epoch: g.Epoch}}
	g.Committed, g.CommittedTime, g.Baseline = redoubt.Position{Epoch: g.Epoch}, 0, 0
	g.Promoted, g.PromotedAt, g.KnownHead, g.KnownHeadTime, g.LastContact, g.Receipt = redoubt.Position{}, 0, 0, 0, 0, nil
	st.Erased, st.ErasedAt, st.Left = g.Epoch, now, nil
	for _, id := range s.nodeIDs() {
		if s.nodes[id].State.Member() {
			st.Left = append(st.Left, id)
		}
	}
	return nil
}

// Erasable returns nil if nobody keeps a point of the group, or ErrState and
// who does.
func (c *Catalog) Erasable(id redoubt.GroupID) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, err := c.s.group("delete the points of group", id)
	if err != nil {
		return err
	}
	return c.s.erasable(g)
}

// erasable refuses what somebody keeps.
func (s *state) erasable(g *Group) error {
	const op = "delete the points of group"
	r := s.retention(g.ID)
	for i := range r.Pins {
		switch p := &r.Pins[i]; {
		case p.Kind == PinHold && !p.Over(r.Clock):
			return fail(op, string(g.ID), fmt.Errorf("hold %s of point %s has not ended: %w", p.Name, p.Position, redoubt.ErrState),
				"nothing ends a hold before its date; if the date is past by now: redoubt retention confirm "+string(g.ID))
		case p.Kind == PinExport:
			return fail(op, string(g.ID), fmt.Errorf("test failover %s of point %s is open: %w", p.Name, p.Position, redoubt.ErrState),
				"redoubt failover cleanup "+string(g.ID)+" ends it")
		}
	}
	return nil
}

// EraseDone says that Node holds nothing any more of the epochs below Erased.
// Result: nil. It changes nothing the second time.
type EraseDone struct {
	Group  redoubt.GroupID
	UUID   string
	Erased redoubt.Epoch
	Node   redoubt.NodeID
}

func (c EraseDone) kind() kind { return kindEraseDone }

func (c EraseDone) encode(e *encoder) {
	e.str(string(c.Group))
	e.str(c.UUID)
	e.uvar(uint64(c.Erased))
	e.str(string(c.Node))
}

func decodeEraseDone(d *decoder) Command {
	return EraseDone{Group: d.groupID(), UUID: d.str(maxName, "uuid"), Erased: d.epoch(), Node: d.nodeID()}
}

func (c EraseDone) check() error { return redoubt.ValidName("group", string(c.Group)) }

func (c EraseDone) apply(s *state) (any, error) {
	const op = "end the deletion of points of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	st := s.standing(g.ID)
	if g.UUID != c.UUID || st.Erased != c.Erased {
		return nil, fail(op, string(g.ID), fmt.Errorf("another deletion came after it: %w", redoubt.ErrFenced), "")
	}
	st.Left = slices.DeleteFunc(slices.Clone(st.Left), func(id redoubt.NodeID) bool { return id == c.Node })
	s.stands[g.ID] = &st
	return nil, nil
}

// vacant reports whether the group's name can go to another identity: it is
// unprotected and its points are deleted, on every node that is a member yet.
func (s *state) vacant(g *Group) bool {
	st := s.standing(g.ID)
	return g.State == StateUnprotected && g.Baseline == 0 && g.Committed.LSN == 0 &&
		!slices.ContainsFunc(st.Left, func(id redoubt.NodeID) bool { return s.nodes[id].State.Member() })
}
