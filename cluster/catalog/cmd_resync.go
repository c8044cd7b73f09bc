package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// BindJournal says which journal the source of a group has. Result: nil.
// ErrExists if another one is known.
type BindJournal struct {
	Group   redoubt.GroupID
	Epoch   redoubt.Epoch // the current one
	Journal string
}

func (c BindJournal) kind() kind { return kindBindJournal }

func (c BindJournal) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.str(c.Journal)
}

func (c BindJournal) check() error {
	if c.Journal == "" || len(c.Journal) > maxName {
		return invalid("bind journal of group", string(c.Group), "bad name")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c BindJournal) apply(s *state) (any, error) {
	const op = "bind journal of group"
	if _, err := s.groupAt(op, c.Group, c.Epoch); err != nil {
		return nil, err
	}
	b := s.bindings[c.Group]
	if b.Journal != "" && b.Journal != c.Journal {
		return nil, fail(op, string(c.Group), fmt.Errorf("journal %s is known: %w", b.Journal, redoubt.ErrExists), "")
	}
	b.Journal = c.Journal
	s.bindings[c.Group] = b
	return nil, nil
}

// RequireResync says that the source has lost its journal, or part of it: what
// it writes does not follow what is stored. Nothing of it is taken before
// BeginResync. Result: the Group, which is ResyncRequired, also under a pause.
type RequireResync struct {
	Group  redoubt.GroupID
	Epoch  redoubt.Epoch // the current one
	Reason string
	Now    int64
}

func (c RequireResync) kind() kind { return kindRequireResync }

func (c RequireResync) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.Epoch))
	e.str(c.Reason)
	e.i64(c.Now)
}

func (c RequireResync) check() error {
	if c.Reason == "" || len(c.Reason) > maxText {
		return invalid("require resynchronisation of group", string(c.Group), "bad reason")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c RequireResync) apply(s *state) (any, error) {
	const op = "require resynchronisation of group"
	g, err := s.groupAt(op, c.Group, c.Epoch)
	if err != nil {
		return nil, err
	}
	if g.Writer != SourceWriter(g.Source) {
		return nil, fail(op, string(g.ID), fmt.Errorf("%s writes it: %w", g.Writer, redoubt.ErrState), "")
	}
	n := *g
	for _, from := range []State{StateInitialSync, StateProtected, StateResyncing} {
		n.catchUp(from, StateResyncRequired)
	}
	if n.State != StateResyncRequired && n.Prior != StateResyncRequired {
		return nil, fail(op, string(g.ID), fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), "")
	}
	if b := s.bindings[g.ID]; b.Lost == "" {
		b.Lost, b.Since = c.Reason, c.Now
		s.bindings[g.ID] = b
	}
	return s.put(&n), nil
}

// BeginResync begins an epoch of the source at what is committed, with a gap
// that ends when the source has shipped what differs. Points before it stay.
// Result: the Group, which is Resyncing.
type BeginResync struct {
	Group    redoubt.GroupID
	NewEpoch redoubt.Epoch // the current epoch + 1
	Now      int64
}

func (c BeginResync) kind() kind { return kindBeginResync }

func (c BeginResync) encode(e *encoder) {
	e.str(string(c.Group))
	e.uvar(uint64(c.NewEpoch))
	e.i64(c.Now)
}

func (c BeginResync) check() error {
	if c.NewEpoch < 2 {
		return invalid("resynchronise group", string(c.Group), "bad epoch")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c BeginResync) apply(s *state) (any, error) {
	const op = "resynchronise group"
	g, err := s.groupAt(op, c.Group, c.NewEpoch-1)
	if err != nil {
		return nil, err
	}
	next, err := g.step(OpResynchronise)
	if err != nil {
		return nil, err
	}
	if g.Writer != SourceWriter(g.Source) {
		return nil, fail(op, string(g.ID), fmt.Errorf("%s writes it: %w", g.Writer, redoubt.ErrState), "only a source is compared; see reverse replication")
	}
	n := *g
	n.begin(s, redoubt.Fork{Epoch: c.NewEpoch, Parent: g.Epoch, At: g.Committed.LSN}, g.Writer, next)
	gap := Gap{Epoch: n.Epoch, After: n.Committed.LSN, Since: n.CommittedTime, Opened: c.Now, Cause: GapResync}
	if i := s.openGap(g.ID, n.Epoch); i >= 0 { // it forks inside of another gap
		gap.Since = s.gaps[g.ID][i].Since
		s.gaps[g.ID] = slices.Delete(slices.Clone(s.gaps[g.ID]), i, i+1)
	}
	s.addGap(g.ID, gap)
	s.unbind(g.ID)
	return s.put(&n), nil
}
