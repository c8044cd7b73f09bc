package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

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
	n.settle()
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
