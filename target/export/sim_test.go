package export

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// sim is a group, its source and three nodes, without time, disks and network:
// the real catalog and the real driver, over a model of what is durable where.
// Whatever may happen happens in an order that a seed decides; a crash may come
// between any two steps, and a proposal may be lost, lose its answer, or arrive late.
type sim struct {
	*testing.T
	rng   *rand.Rand
	local *catalog.Local
	late  []catalog.Command // proposals that nobody waits for any more
	calm  bool              // nothing bad happens any more

	src  simSource
	prod simProd
	term map[redoubt.NodeID]uint64 // of the driver that lives on a node
	hist []string
}

// simSource is the source host. Its head and hold are durable.
type simSource struct {
	writer, fenced bool
	epoch          redoubt.Epoch
	head           redoubt.LSN
	held           uint64 // job for which the clients are stopped; 0: they write
}

// simProd is the production at node n2. A crash forgets frozen.
type simProd struct {
	open   redoubt.Epoch // that is exported; 0: none
	head   redoubt.LSN
	back   redoubt.LSN // what the old primary has of it
	frozen bool
}

const simNode = redoubt.NodeID("n2")

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{T: t, rng: rand.New(rand.NewPCG(seed, 1)), local: catalog.NewLocal(), term: map[redoubt.NodeID]uint64{}, src: simSource{writer: true, epoch: 1, head: 5}}
	for i := range 3 {
		s.must(catalog.PutNode{Node: catalog.NodeInfo{ID: redoubt.NodeID(fmt.Sprintf("n%d", i+1)), Addr: "a:1", Instance: "i" + strconv.Itoa(i)}})
	}
	s.must(catalog.CreateGroup{ID: "g", UUID: "u", Source: "s1", SourceAddr: "s:1", Disks: []redoubt.Disk{{ID: 1, Name: "d", Size: 1 << 20}}, K: 2, M: 1})
	s.store(5, 5)
	return s
}

func (s *sim) group() catalog.Group {
	g, _ := s.local.Catalog().Group("g")
	return g
}

func (s *sim) must(c catalog.Command) {
	s.Helper()
	if _, err := s.local.Propose(s.Context(), c); err != nil {
		s.Fatalf("%T: %v", c, err)
	}
}

// store commits everything up to head into the group's current epoch.
func (s *sim) store(head, baseline redoubt.LSN) {
	g := s.group()
	if head <= g.Committed.LSN {
		return
	}
	v, err := s.local.Propose(s.Context(), catalog.CommitSegments{Batches: []catalog.SegmentBatch{{Group: "g", Epoch: g.Epoch, OwnerTerm: g.OwnerTerm, Segments: []catalog.Segment{{
		Epoch: g.Epoch, Ordinal: s.local.Catalog().SegmentCount("g", g.Epoch), First: g.Committed.LSN + 1, Last: head, FirstTime: int64(head), LastTime: int64(head),
		Size: 100, HeadLen: 10, ShardSize: 50, K: 2, M: 1, Nodes: []redoubt.NodeID{"n1", "n2", "n3"}, Stored: 7, Baseline: baseline}}}}})
	if err != nil {
		s.Fatal(err)
	}
	if r := v.([]catalog.CommitResult)[0]; r.Err != nil {
		s.Fatal(r.Err)
	}
}

// Propose is the cluster as a node sees it.
func (s *sim) Propose(ctx context.Context, c catalog.Command) (any, error) {
	if !s.calm {
		switch s.rng.IntN(8) {
		case 0:
			return nil, redoubt.ErrUnavailable
		case 1: // it is under way, and whoever asked hears nothing
			s.late = append(s.late, c)
			return nil, redoubt.ErrUnavailable
		case 2:
			_, _ = s.local.Propose(ctx, c)
			return nil, redoubt.ErrUnavailable
		}
	}
	return s.local.Propose(ctx, c)
}

func (s *sim) Barrier(context.Context) error     { return nil }
func (s *sim) Catalog() *catalog.Catalog         { return s.local.Catalog() }
func (s *sim) running() (catalog.Job, bool)      { return s.local.Catalog().RunningJob("g") }
func (s *sim) note(format string, v ...any)      { s.hist = append(s.hist, fmt.Sprintf(format, v...)) }
func (s *sim) chance(one int) bool               { return !s.calm && s.rng.IntN(one) == 0 }
func (s *sim) targetWrites(g catalog.Group) bool { return g.Writer == catalog.TargetWriter(simNode) }

var errCrash = errors.New("crash")

// drive lets the node's driver do one step, and may kill it at any point.
func (s *sim) drive(node redoubt.NodeID) {
	j, ok := s.running()
	if !ok || node != simNode && (j.Promoted() || j.Kind != catalog.JobPlanned || s.calm) {
		return
	}
	if s.term[node] != j.Term || j.Node != node {
		if _, err := s.Propose(s.Context(), catalog.ClaimJob{Job: ref(j), Node: node, Term: j.Term + 1}); err != nil {
			return
		}
		j, _ = s.running()
		s.term[node] = j.Term
	}
	if j, ok = s.running(); !ok || !s.ready(j) {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errCrash {
				panic(r)
			}
			s.crash(node)
		}
	}()
	d := &driver{jobs: s, me: node, now: time.Now, warn: func(string, ...any) {},
		here:    func(p string) { s.maybe(p) },
		pause:   func(context.Context, time.Duration) error { return errors.New("later") },
		perform: s.perform}
	_ = d.step(s.Context(), s.group(), j)
	s.leave(node)
}

func (s *sim) maybe(point string) {
	s.note("%s", point)
	if s.chance(12) {
		s.note("killed at %s", point)
		panic(errCrash)
	}
}

// ready: a step that waits for the source is not begun before it has an end.
func (s *sim) ready(j catalog.Job) bool {
	switch j.Step {
	case catalog.StepShip, catalog.StepQuiesce:
		return false
	case catalog.StepDrain:
		return s.group().Committed.LSN >= j.Head
	case catalog.StepSwitch, catalog.StepCatchUp:
		return s.prod.open == s.group().Epoch
	}
	return true
}

func (s *sim) perform(_ context.Context, g catalog.Group, j catalog.Job) (done, error) {
	switch j.Step {
	case catalog.StepDrain:
		if g.Committed.LSN != j.Head {
			return done{}, redoubt.ErrState
		}
	case catalog.StepPromote:
		return done{do: catalog.Promote{Group: "g", Kind: catalog.PromotePlanned, Point: redoubt.Position{Epoch: j.Epoch, LSN: j.Head},
			NewEpoch: g.Epoch + 1, Writer: catalog.TargetWriter(s.at(j))}}, nil
	case catalog.StepExport:
		s.export(g)
	case catalog.StepSwitch:
		s.prod.frozen = true
		s.store(s.prod.head, 0)
		s.prod.back = s.prod.head
		return done{do: catalog.Promote{Group: "g", Kind: catalog.PromoteFailback, Point: redoubt.Position{Epoch: g.Epoch, LSN: s.prod.head},
			NewEpoch: g.Epoch + 1, Writer: catalog.SourceWriter("s1")}}, nil
	case catalog.StepClose:
		s.prod = simProd{}
	}
	return done{}, nil
}

func (s *sim) at(j catalog.Job) redoubt.NodeID { return j.Node }

func (s *sim) export(g catalog.Group) {
	if s.prod.open != g.Epoch {
		s.prod = simProd{open: g.Epoch, head: g.Promoted.LSN}
	}
}

// leave is Manager.leave.
func (s *sim) leave(redoubt.NodeID) {
	if _, ok := s.running(); !ok && s.prod.open == s.group().Epoch {
		s.prod.frozen = false
	}
}

// crash restarts a node: its production opens writable again, after outlive.
func (s *sim) crash(node redoubt.NodeID) {
	s.term[node] = 0
	if node != simNode {
		return
	}
	if j, ok := s.running(); ok && j.Kind == catalog.JobFailback {
		s.must(catalog.ClaimJob{Job: ref(j), Node: node, Term: j.Term + 1})
	}
	if s.prod.frozen = false; s.prod.open != s.group().Epoch {
		s.prod = simProd{}
	}
}

// source asks once and does what is asked, as source/planned.go does.
func (s *sim) source() {
	g, src := s.group(), &s.src
	tell := func(c catalog.TellJob) {
		if !s.chance(4) { // or killed before it could say so
			_, _ = s.Propose(s.Context(), c)
		}
	}
	j, ok := s.running()
	ordered := ok && j.Kind == catalog.JobPlanned && j.Epoch == g.Epoch && g.State == catalog.StateFailingOver
	switch {
	case g.Epoch > src.epoch && g.Writer == catalog.SourceWriter("s1"):
		f, _ := g.Lineage.Find(g.Epoch)
		if at, on := g.Lineage.ForkFrom(src.epoch); !on || at > src.head && !src.fenced {
			s.Fatalf("the source, at %d:%d, cannot take over epoch %d", src.epoch, src.head, g.Epoch)
		}
		*src = simSource{writer: true, epoch: g.Epoch, head: max(f.At, src.head)}
	case g.Epoch > src.epoch:
		src.writer, src.fenced, src.held = false, true, 0
	case src.fenced:
	case src.held != 0 && (!ordered || j.ID != src.held):
		src.held = 0
	case !ordered:
		if last, ok := s.local.Catalog().Job("g", 0); ok && last.State == catalog.JobCancelling {
			tell(catalog.TellJob{Job: ref(last), What: catalog.ToldResumed})
		}
	case src.held != 0 && s.chance(6): // stopped for too long
		tell(catalog.TellJob{Job: ref(j), What: catalog.ToldRefused, Why: "too long"})
	case j.Step == catalog.StepShip:
		tell(catalog.TellJob{Job: ref(j), What: catalog.ToldReady, Head: src.head})
	case j.Step == catalog.StepQuiesce:
		src.held = j.ID
		tell(catalog.TellJob{Job: ref(j), What: catalog.ToldStopped, Head: src.head, Sum: make([]byte, 32)})
	}
}

// operator begins what the group's state allows, or cancels.
func (s *sim) operator() {
	g := s.group()
	next := catalog.JobRef{Group: "g", ID: s.local.Catalog().NextJob("g")}
	begin := func(c catalog.BeginJob) {
		c.Job, c.Node, c.Epoch = next, simNode, g.Epoch
		_, _ = s.Propose(s.Context(), c)
	}
	j, ok := s.running()
	switch {
	case ok && j.Step == catalog.StepExport && s.chance(4):
		begin(catalog.BeginJob{Kind: catalog.JobCancel, Do: catalog.CancelFailover{Group: "g", NewEpoch: g.Epoch + 1}})
	case ok && s.chance(4):
		_, _ = s.Propose(s.Context(), catalog.EndJob{Job: ref(j), State: catalog.JobCancelled})
	case ok || s.calm:
	case g.State == catalog.StateProtected:
		begin(catalog.BeginJob{Kind: catalog.JobPlanned, Limit: 1})
	case g.State == catalog.StateFailoverCommitPending && s.chance(3):
		begin(catalog.BeginJob{Kind: catalog.JobCancel, Do: catalog.CancelFailover{Group: "g", NewEpoch: g.Epoch + 1}})
	case g.State == catalog.StateFailoverCommitPending:
		begin(catalog.BeginJob{Kind: catalog.JobCommit, Do: catalog.CommitFailover{Group: "g", Epoch: g.Epoch}})
	case g.State == catalog.StateFailedOver:
		begin(catalog.BeginJob{Kind: catalog.JobReverse, Do: catalog.ReverseReplicate{Group: "g", Epoch: g.Epoch}})
	case g.State == catalog.StateReverseReplicating:
		begin(catalog.BeginJob{Kind: catalog.JobFailback, Limit: 1})
	}
}

// clients write where they can: at the source, and at the node.
func (s *sim) clients() {
	if s.src.writer && s.src.held == 0 {
		s.src.head++
	}
	if s.prod.open != 0 && !s.prod.frozen {
		s.prod.head++
	}
}

// ship lets each side's stream get on.
func (s *sim) ship() {
	g := s.group()
	if g.Writer == catalog.SourceWriter("s1") && s.src.writer && s.src.epoch == g.Epoch {
		s.store(s.src.head, 0)
	}
	if s.targetWrites(g) && s.prod.open == g.Epoch {
		s.store(s.prod.head, 0)
	}
}

// check holds the world against what must always be true.
func (s *sim) check() {
	g := s.group()
	bad := func(format string, v ...any) {
		s.Helper()
		for _, l := range s.hist[max(0, len(s.hist)-30):] {
			s.Log(l)
		}
		s.Fatalf(format+": group %s epoch %d writer %s, source %+v, production %+v", append(v, g.State, g.Epoch, g.Writer, s.src, s.prod)...)
	}
	cancelled := g.Writer == catalog.SourceWriter("s1") // the way back of a cancel leaves the node's tail as a branch
	if s.src.writer && s.src.held == 0 && !cancelled && s.src.epoch < g.Epoch {
		bad("both sides write")
	}
	if f, _ := g.Lineage.Find(g.Epoch); !cancelled && f.Parent == s.src.epoch && f.At != s.src.head {
		bad("promoted at %d, the source's last write is %d", f.At, s.src.head)
	}
	if cancelled && g.Promoted.Epoch == s.prod.open && s.prod.open != 0 && g.Promoted.LSN != s.prod.head {
		bad("failed back at %s, the last write there is %d", g.Promoted, s.prod.head)
	}
}

// settle lets everything come to rest: it must be one of the states that last.
func (s *sim) settle() {
	s.calm = true
	for _, c := range s.late {
		_, _ = s.local.Propose(s.Context(), c)
	}
	for range 60 {
		s.source()
		s.drive(simNode)
		s.leave(simNode)
		s.ship()
		s.check()
	}
	g := s.group()
	if j, ok := s.running(); ok {
		s.Fatalf("job %d (%s) does not end: step %s", j.ID, j.Kind, j.Step)
	}
	switch {
	case g.State == catalog.StateFailingOver:
		s.Fatalf("the group stays %s", g.State)
	case s.targetWrites(g) == (s.src.writer && s.src.held == 0):
		s.Fatalf("writer %s, source %+v: nobody writes, or both", g.Writer, s.src)
	case !s.targetWrites(g) && s.src.held != 0:
		s.Fatalf("the source stays stopped: %+v", s.src)
	}
	for _, j := range s.local.Catalog().Jobs("g") {
		if j.State == catalog.JobCancelling && j.ID == s.local.Catalog().NextJob("g")-1 {
			s.Fatalf("job %d stays %s", j.ID, j.State)
		}
	}
}

// simSeeds is how many runs a test makes.
func simSeeds() int {
	if n, err := strconv.Atoi(os.Getenv("REDOUBT_CRASHES")); err == nil && n > 500 {
		return n
	}
	return 500
}

// Whatever is killed between two steps, and whatever proposal is lost or late:
// no write is lost, never do both sides write, and every job comes to an end.
func TestJobsSurviveCrashesSimulated(t *testing.T) {
	first := uint64(time.Now().UnixNano())
	t.Logf("seeds from %d", first)
	kinds := map[string]int{}
	for seed := first; seed < first+uint64(simSeeds()); seed++ {
		s := newSim(t, seed)
		for range 120 {
			switch s.rng.IntN(9) {
			case 0:
				s.operator()
			case 1, 2:
				s.source()
			case 3:
				s.clients()
			case 4, 5:
				s.drive(simNode)
			case 6:
				s.ship()
			case 7:
				if i := len(s.late) - 1; i >= 0 && s.rng.IntN(3) == 0 {
					c := s.late[i]
					s.late = s.late[:i]
					_, _ = s.local.Propose(t.Context(), c)
				}
			case 8:
				if s.chance(3) {
					s.crash(simNode)
				}
			}
			s.check()
			if t.Failed() {
				break
			}
		}
		s.settle()
		for _, j := range s.local.Catalog().Jobs("g") {
			kinds[j.Kind.String()+" "+j.State.String()]++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Log(kinds)
	for _, want := range []string{"planned-failover done", "planned-failover failed", "planned-failover cancelled", "cancel done", "commit done", "reverse done", "failback done"} {
		if kinds[want] == 0 {
			t.Errorf("no run had %q: %v", want, kinds)
		}
	}
}
