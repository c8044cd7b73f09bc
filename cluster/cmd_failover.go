package cluster

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
	next, back, err := c.step(g)
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
	n := *g
	n.begin(s, redoubt.Fork{Epoch: c.NewEpoch, Parent: c.Point.Epoch, At: c.Point.LSN}, c.Writer, next)
	n.Promoted, n.PromotedAt = c.Point, c.Now
	if c.Kind != PromoteChange {
		n.KnownHead, n.KnownHeadTime, n.LastContact = max(c.KnownHead, base.LSN), c.KnownHeadTime, c.LastContact
		n.Receipt = nil
		n.Before = redoubt.Position{}
		if next == StateFailoverCommitPending {
			n.Before = base
		}
	}
	return s.put(&n), nil
}

// step finds where the promotion leads, and whether it goes back to the source.
func (c Promote) step(g *Group) (next State, back bool, err error) {
	op := c.Kind.operation()
	from := g.State
	if from == StatePaused || from == StateFailingOver {
		from = g.Prior
	}
	back = from == StateReverseReplicating
	if g.State == StateFailingOver && op == OpPlannedFailover {
		next, _ = Allowed(from, op) // the job that made it FailingOver ends
	} else if next, err = g.step(op); err != nil {
		return 0, false, err
	}
	if c.Kind == PromoteFailback && !back || c.Kind == PromotePlanned && back {
		return 0, false, g.refuse(op)
	}
	return next, back, nil
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
	g.Lineage = append(slices.Clone(g.Lineage), f)
	g.Epoch, g.Writer, g.State = f.Epoch, writer, next
	g.Committed, g.CommittedTime = redoubt.Position{Epoch: f.Epoch, LSN: f.At}, at
	g.settle()
}

// CommitFailover makes the promoted point final. Result: the Group.
type CommitFailover struct {
	Group redoubt.GroupID
	Epoch redoubt.Epoch // the current one
	Now   int64
}

func (c CommitFailover) kind() kind   { return kindCommitFailover }
func (c CommitFailover) check() error { return redoubt.ValidName("group", string(c.Group)) }

func (c CommitFailover) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.i64(c.Now)
}

func (c CommitFailover) apply(s *state) (any, error) {
	g, err := s.groupAt("commit failover of group", c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	next, err := g.step(OpCommit)
	if err != nil {
		return nil, err
	}
	n := *g
	n.State, n.Before = next, redoubt.Position{}
	return s.put(&n), nil
}

// CancelFailover gives the group back to its source, at the committed head of
// the epoch in which it was before the failover; what was written at the
// secondary stays in the lineage as a branch. While a job is only under way
// (StateFailingOver) no epoch begins. Result: the Group.
type CancelFailover struct {
	Group    redoubt.GroupID
	NewEpoch redoubt.Epoch // the current epoch + 1
	Now      int64
}

func (c CancelFailover) kind() kind { return kindCancelFailover }

func (c CancelFailover) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.NewEpoch))
	e.i64(c.Now)
}

func (c CancelFailover) check() error {
	if c.NewEpoch < 2 {
		return invalid("cancel failover of group", string(c.Group), "bad epoch")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c CancelFailover) apply(s *state) (any, error) {
	g, err := s.groupAt("cancel failover of group", c.Group, c.NewEpoch-1)
	if err != nil {
		return nil, err
	}
	next, err := g.step(OpCancel)
	if err != nil {
		return nil, err
	}
	n := *g
	if g.State == StateFailingOver {
		n.State = next
		n.settle()
		return s.put(&n), nil
	}
	n.begin(s, redoubt.Fork{Epoch: c.NewEpoch, Parent: g.Before.Epoch, At: g.Before.LSN}, SourceWriter(g.Source), next)
	n.Before, n.Promoted, n.PromotedAt, n.Receipt = redoubt.Position{}, redoubt.Position{}, 0, nil
	n.KnownHead, n.KnownHeadTime, n.LastContact = 0, 0, 0
	return s.put(&n), nil
}

// ReverseReplicate starts the flow back to the source's disks. Result: the Group.
type ReverseReplicate struct {
	Group redoubt.GroupID
	Epoch redoubt.Epoch // the current one
	Now   int64
}

func (c ReverseReplicate) kind() kind   { return kindReverseReplicate }
func (c ReverseReplicate) check() error { return redoubt.ValidName("group", string(c.Group)) }

func (c ReverseReplicate) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.i64(c.Now)
}

func (c ReverseReplicate) apply(s *state) (any, error) {
	g, err := s.groupAt("reverse replication of group", c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	next, err := g.step(OpReverseReplicate)
	if err != nil {
		return nil, err
	}
	n := *g
	n.State = next
	return s.put(&n), nil
}

// RecordReceipt stores the exact loss, as the old writer told it. Result: the Group.
type RecordReceipt struct {
	Group   redoubt.GroupID
	Receipt Receipt
}

func (c RecordReceipt) kind() kind        { return kindRecordReceipt }
func (c RecordReceipt) encode(e *encoder) { e.str(string(c.Group)); e.receipt(&c.Receipt) }

func (c RecordReceipt) check() error {
	r := c.Receipt
	if r.Epoch == 0 || r.Last < r.First || (r.First == 0) != (r.Writes == 0) {
		return invalid("record receipt of group", string(c.Group), "bad range")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c RecordReceipt) apply(s *state) (any, error) {
	g, err := s.group("record receipt of group", c.Group)
	if err != nil {
		return nil, err
	}
	if g.PromotedAt == 0 {
		return nil, fail("record receipt of group", string(c.Group), fmt.Errorf("it was not failed over: %w", redoubt.ErrState), "")
	}
	if _, ok := g.Lineage.Find(c.Receipt.Epoch); !ok || c.Receipt.Epoch >= g.Epoch {
		return nil, invalid("record receipt of group", string(c.Group), fmt.Sprintf("epoch %d is not a past one", c.Receipt.Epoch))
	}
	n := *g
	r := c.Receipt
	n.Receipt = &r
	return s.put(&n), nil
}
