package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// register is what the model knows of a group.
type register struct {
	term, epoch uint64
	lsn, before redoubt.LSN
	pending     bool // a failover may be cancelled
}

// request is one operation, as its caller asked for it: compare and set.
type request struct {
	group redoubt.GroupID
	what  string // read, owner, commit, promote, cancel
	reg   register
}

type answer struct {
	done, unknown bool
	reg           register // of a read
}

// agreed is the sequential meaning of the operations.
func agreed() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			by := map[redoubt.GroupID][]porcupine.Operation{}
			for _, o := range all {
				g := o.Input.(request).group
				by[g] = append(by[g], o)
			}
			var out [][]porcupine.Operation
			for _, os := range by {
				out = append(out, os)
			}
			return out
		},
		Init: func() any { return register{term: 1, epoch: 1, lsn: 1} },
		Step: func(state, input, output any) (bool, any) {
			s, q, a := state.(register), input.(request), output.(answer)
			if q.what == "read" {
				return a.unknown || a.reg == s, s
			}
			next, fits := s.after(q)
			if a.unknown { // it took effect if it could, at some time up to the end
				return true, next
			}
			return a.done == fits, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

// after is the state after the request, and whether it fitted; s if it did not.
func (s register) after(q request) (register, bool) {
	n := s
	switch {
	case q.what != "owner" && q.reg.epoch != s.epoch:
		return s, false
	case q.what == "owner" && q.reg.term == s.term:
		n.term++
	case q.what == "commit" && q.reg.term == s.term && q.reg.lsn < s.lsn:
		// Committed already: nothing changes.
	case q.what == "commit" && q.reg.term == s.term && q.reg.lsn == s.lsn:
		n.lsn++
	case q.what == "promote" && !s.pending:
		n.epoch, n.pending, n.before, n.lsn = s.epoch+1, true, s.lsn, q.reg.lsn
	case q.what == "cancel" && s.pending:
		n.epoch, n.pending, n.before, n.lsn = s.epoch+1, false, 0, s.before
	default:
		return s, false
	}
	return n, true
}

// registerOf reads the model's state from the catalog.
func registerOf(g catalog.Group) register {
	return register{term: g.OwnerTerm, epoch: uint64(g.Epoch), lsn: g.Committed.LSN, before: g.Before.LSN, pending: g.State == catalog.StateFailoverCommitPending}
}

// teller does operations through one node and writes down what came of them.
type teller struct {
	h   *host
	rng *rand.Rand
	ops []porcupine.Operation
	id  int
}

func (c *teller) once(start time.Time, id redoubt.GroupID) {
	g, ok := c.h.node.Catalog().Group(id) // may be stale: then the request is refused
	if !ok {
		return
	}
	q := request{group: id, what: []string{"read", "owner", "commit", "commit", "promote", "cancel"}[c.rng.IntN(6)], reg: registerOf(g)}
	fork, _ := g.Lineage.Find(g.Epoch)
	var cmd catalog.Command
	switch q.what {
	case "owner":
		cmd = catalog.SetOwner{Group: id, Node: c.h.id, Term: q.reg.term}
	case "commit":
		at := q.reg.lsn + 1
		cmd = batch(g, seg(g, uint64(q.reg.lsn-fork.At), at, at))
	case "promote":
		if q.reg.lsn <= fork.At {
			return // a point of the parent epoch
		}
		cmd = catalog.Promote{Group: id, Kind: catalog.PromoteUnplanned, Point: g.Committed, NewEpoch: g.Epoch + 1, Writer: catalog.TargetWriter(c.h.id), KnownHead: q.reg.lsn}
	case "cancel":
		cmd = catalog.CancelFailover{Group: id, NewEpoch: g.Epoch + 1}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	op := porcupine.Operation{ClientId: c.id, Input: q, Call: int64(time.Since(start))}
	op.Output, op.Return = c.do(ctx, id, cmd), int64(time.Since(start))
	if op.Output.(answer).unknown {
		op.Return = math.MaxInt64
	}
	c.ops = append(c.ops, op)
}

func (c *teller) do(ctx context.Context, id redoubt.GroupID, cmd catalog.Command) answer {
	if cmd == nil {
		if err := c.h.node.Barrier(ctx); err != nil {
			return answer{unknown: true}
		}
		g, _ := c.h.node.Catalog().Group(id)
		return answer{reg: registerOf(g)}
	}
	v, err := c.h.node.Propose(ctx, cmd)
	if err == nil {
		if rs, ok := v.([]catalog.CommitResult); ok {
			err = rs[0].Err
		}
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, redoubt.ErrUnavailable) {
		return answer{unknown: true}
	}
	return answer{done: err == nil}
}

// The catalog behaves like one copy: changes of owner, commits, promotions and
// reads, asked of every node while leaders are cut off, have an order that explains every answer.
func TestCatalogIsLinearizable(t *testing.T) {
	times := quick()
	times.Owner, times.Rebalance = time.Hour, time.Hour // no changes of owner but the test's
	s := newSiteAt(t, 3, times)
	rng := seeded.Rand(t)
	var groups []redoubt.GroupID
	for i := range 3 {
		id := fmt.Sprintf("g%d", i)
		s.propose(s.nodes[0], createG(id))
		g, _ := s.nodes[0].node.Catalog().Group(redoubt.GroupID(id))
		first := seg(g, 0, 1, 1)
		first.Baseline = 1
		s.propose(s.nodes[0], batch(g, first))
		groups = append(groups, g.ID)
	}
	s.sameEverywhere()
	start := time.Now()
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var tellers []*teller
	for i := range 6 {
		c := &teller{h: s.nodes[i%3], rng: rand.New(rand.NewPCG(rng.Uint64(), 1)), id: i}
		tellers = append(tellers, c)
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				default:
					c.once(start, groups[c.rng.IntN(len(groups))])
				}
			}
		})
	}
	var once sync.Once
	halt := func() { once.Do(func() { close(quit); wg.Wait() }) }
	t.Cleanup(halt) // before the nodes are closed
	progress := func(at *host) {
		from := at.node.Catalog().Index()
		s.eventually(func() bool { return at.node.Catalog().Index() > from+30 }, "progress")
	}
	for range 4 {
		l := s.leader()
		progress(l)
		l.isolate(true)
		progress(s.leader())
		l.isolate(false)
		f := s.follower()
		f.isolate(true)
		progress(s.leader())
		f.isolate(false)
	}
	halt()
	var all []porcupine.Operation
	unknown, done := 0, 0
	for _, c := range tellers {
		for _, o := range c.ops {
			all = append(all, o)
			if a := o.Output.(answer); a.unknown {
				unknown++
			} else if a.done {
				done++
			}
		}
	}
	t.Logf("%d operations: %d done, %d without an answer", len(all), done, unknown)
	if done < 100 {
		t.Error("too little was done to say anything")
	}
	switch porcupine.CheckOperationsTimeout(agreed(), all, time.Minute) {
	case porcupine.Illegal:
		t.Error("no order of the operations explains the answers")
	case porcupine.Unknown:
		t.Log("the history was too long to be judged")
	}
}
