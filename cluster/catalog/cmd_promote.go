package catalog

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// PromoteKind says which operation a Promote carries out. The numbers are part
// of the stored formats.
type PromoteKind uint8

// The kinds of a Promote.
const (
	// PromoteUnplanned: the old writer is gone; any point of the present history may be chosen.
	PromoteUnplanned PromoteKind = 1
	// PromotePlanned: the source was stopped and drained; the point must be the committed head.
	PromotePlanned PromoteKind = 2
	// PromoteChange: another point, before the failover is committed.
	PromoteChange PromoteKind = 3
	// PromoteFailback: back to the source; the point must be the committed head.
	PromoteFailback PromoteKind = 4
)

func (k PromoteKind) operation() Operation {
	switch k {
	case PromoteUnplanned:
		return OpUnplannedFailover
	case PromotePlanned, PromoteFailback:
		return OpPlannedFailover
	case PromoteChange:
		return OpChangeRecoveryPoint
	}
	return 0
}

// String returns the kind's name in lower case.
func (k PromoteKind) String() string {
	switch k {
	case PromoteUnplanned:
		return "unplanned"
	case PromotePlanned:
		return "planned"
	case PromoteChange:
		return "change"
	case PromoteFailback:
		return "failback"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Promote begins a new epoch at a committed point and gives it to Writer.
// Everything of older epochs is refused from then on. Result: the Group.
//
// ErrState if the table does not allow it; ErrFenced if NewEpoch is taken
// already; ErrInvalid if the point is not on the history that may be promoted.
type Promote struct {
	Group    redoubt.GroupID
	Kind     PromoteKind
	Point    redoubt.Position // parent epoch and its last LSN that stays
	NewEpoch redoubt.Epoch    // the current epoch + 1
	Writer   string           // TargetWriter(node), or SourceWriter(the group's source) on the way back
	// What is known of the old writer; for the bound on the loss.
	KnownHead     redoubt.LSN
	KnownHeadTime int64
	LastContact   int64
	Now           int64
}

func (c Promote) kind() kind { return kindPromote }

func (c Promote) encode(e *encoder) {
	e.str(string(c.Group))
	e.u8(uint8(c.Kind))
	e.pos(c.Point)
	e.uvar(uint64(c.NewEpoch))
	e.str(c.Writer)
	e.lsn(c.KnownHead)
	e.i64(c.KnownHeadTime)
	e.i64(c.LastContact)
	e.i64(c.Now)
}

func decodePromote(d *decoder) Command {
	return Promote{Group: d.groupID(), Kind: PromoteKind(d.u8()), Point: d.pos(), NewEpoch: d.epoch(),
		Writer: d.str(maxAddr, "writer"), KnownHead: d.lsn(), KnownHeadTime: d.i64(), LastContact: d.i64(), Now: d.i64()}
}

func (c Promote) check() error {
	if c.Kind.operation() == 0 || c.NewEpoch < 2 || c.Point.Epoch == 0 {
		return invalid("promote group", string(c.Group), "bad kind, point or epoch")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c Promote) apply(s *state) (any, error) {
	g, err := s.groupAt("promote group", c.Group, c.NewEpoch-1)
	if err != nil {
		return nil, err
	}
	next, from, err := c.step(g)
	back := from == StateReverseReplicating
	if err != nil {
		return nil, err
	}
	if err := c.checkWriter(s, g, back); err != nil {
		return nil, err
	}
	base := g.Committed
	if c.Kind == PromoteChange {
		base = g.Before
	}
	if err := c.checkPoint(g, base); err != nil {
		return nil, err
	}
	if err := s.retained("promote group", g, g.Written(c.Point)); err != nil {
		return nil, err
	}
	if err := s.visible("promote group", g, c.Point); err != nil {
		return nil, err
	}
	n := *g
	if c.Kind != PromoteChange {
		n.Prior = from
	}
	n.begin(s, redoubt.Fork{Epoch: c.NewEpoch, Parent: c.Point.Epoch, At: c.Point.LSN}, c.Writer, next)
	n.Promoted, n.PromotedAt = c.Point, c.Now
	n.Receipt = nil // it was for another point
	if back {
		s.unbind(g.ID)
	}
	if c.Kind != PromoteChange {
		n.KnownHead, n.KnownHeadTime, n.LastContact = c.KnownHead, c.KnownHeadTime, c.LastContact
		if base.LSN > c.KnownHead { // more was committed while this was on its way
			n.KnownHead, n.KnownHeadTime, n.LastContact = base.LSN, g.CommittedTime, max(c.LastContact, g.CommittedTime)
		}
		n.Before = redoubt.Position{}
		if next == StateFailoverCommitPending {
			n.Before = base
		}
	}
	return s.put(&n), nil
}

// step finds where the promotion leads, and where it comes from: the state under
// a pause or a job.
func (c Promote) step(g *Group) (next, from State, err error) {
	op := c.Kind.operation()
	from = g.State
	if from == StatePaused || from == StateFailingOver {
		from = g.Prior
	}
	back := from == StateReverseReplicating
	if g.State == StateFailingOver && op == OpPlannedFailover {
		next, _ = Allowed(from, op) // the job that made it FailingOver ends
	} else if next, err = g.step(op); err != nil {
		return 0, 0, err
	}
	if c.Kind == PromoteFailback && !back || c.Kind == PromotePlanned && back {
		return 0, 0, g.refuse(op)
	}
	return next, from, nil
}

func (c Promote) checkWriter(s *state, g *Group, back bool) error {
	id, isTarget := strings.CutPrefix(c.Writer, TargetWriter(""))
	if back {
		if c.Writer != SourceWriter(g.Source) {
			return invalid("promote group", string(g.ID), "the way back leads to "+SourceWriter(g.Source)+" only")
		}
		return nil
	}
	if _, known := s.nodes[redoubt.NodeID(id)]; !isTarget || !known {
		return invalid("promote group", string(g.ID), fmt.Sprintf("writer %q is not a node", c.Writer))
	}
	return nil
}

// checkPoint: the point must lie on the history that leads to base, between
// the end of the first copy and what is committed.
func (c Promote) checkPoint(g *Group, base redoubt.Position) error {
	const op = "promote group"
	if g.Baseline == 0 {
		return fail(op, string(g.ID), fmt.Errorf("the first copy is not complete: %w", redoubt.ErrState), "there is no recovery point yet")
	}
	drained := c.Kind == PromotePlanned || c.Kind == PromoteFailback
	if drained && c.Point != base {
		return invalid(op, string(g.ID), fmt.Sprintf("point %s is not the head %s: writes would be lost", c.Point, base))
	}
	for e, limit := base.Epoch, base.LSN; e != 0; {
		f, _ := g.Lineage.Find(e)
		if e == c.Point.Epoch && c.Point.LSN >= f.At && c.Point.LSN <= limit && c.Point.LSN >= g.Baseline {
			return nil
		}
		e, limit = f.Parent, min(limit, f.At)
	}
	return fail(op, string(g.ID), fmt.Errorf("no recovery point %s on the way to %s: %w", c.Point, base, redoubt.ErrInvalid),
		"redoubt points lists what can be promoted")
}

// begin starts an epoch.
func (g *Group) begin(s *state, f redoubt.Fork, writer string, next State) {
	at := s.timeAt(g, redoubt.Position{Epoch: f.Parent, LSN: f.At})
	next = s.inherit(g, f, next)
	g.Lineage = append(slices.Clone(g.Lineage), f)
	g.Epoch, g.Writer, g.State = f.Epoch, writer, next
	g.Committed, g.CommittedTime = redoubt.Position{Epoch: f.Epoch, LSN: f.At}, at
	g.Disks = s.disksAt(g, redoubt.Position{Epoch: f.Epoch, LSN: f.At})
	g.settle()
	s.passOnGap(g)
}
