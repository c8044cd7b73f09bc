package catalog

import (
	"bytes"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

var sum32 = bytes.Repeat([]byte{7}, 32)

func jobOne() JobRef { return JobRef{Group: "g", ID: 1} }

// plannedAt brings group "g" to a step of its planned failover; its head is 14.
func plannedAt(m *machine, st JobStep) {
	m.t.Helper()
	m.protected("g")
	head := m.group("g").Committed.LSN
	m.must(BeginJob{Job: jobOne(), Kind: JobPlanned, Node: "n2", Epoch: 1, Limit: 1e9, By: "test"})
	step := func(at JobStep, do Command) {
		m.t.Helper()
		m.must(StepJob{Job: jobOne(), Term: 1, Step: at, Finish: true, Do: do, Note: "x"})
	}
	for _, s := range []JobStep{StepShip, StepQuiesce, StepDrain, StepCompare, StepPromote, StepExport} {
		if s == st {
			return
		}
		switch s {
		case StepShip:
			m.must(TellJob{Job: jobOne(), What: ToldReady, Head: head, Acked: head})
		case StepQuiesce:
			m.must(TellJob{Job: jobOne(), What: ToldStopped, Head: head, Sum: sum32, Proof: []ProofExtent{{1, redoubt.Extent{Len: 4096}}}})
		case StepPromote:
			step(s, promoteTo(head))
		default:
			step(s, nil)
		}
	}
}

func promoteTo(head redoubt.LSN) Promote {
	return Promote{Group: "g", Kind: PromotePlanned, Point: redoubt.Position{Epoch: 1, LSN: head}, NewEpoch: 2, Writer: "target/n2", Now: 9}
}

// jobCommands are seeds for the decoder.
func jobCommands(g Group) []Command {
	return []Command{
		BeginJob{Job: jobOne(), Kind: JobUnplanned, By: "b", Node: "n1", Epoch: 1, Do: carryOut(g, OpUnplannedFailover), Note: "n"},
		BeginJob{Job: jobOne(), Kind: JobPlanned, Node: "n1", Epoch: 1, Limit: 1, Fixed: true}, ClaimJob{Job: jobOne(), Node: "n1", Term: 2},
		StepJob{Job: jobOne(), Term: 1, Step: StepPromote, Finish: true, Do: carryOut(g, OpPlannedFailover)},
		EndJob{Job: jobOne(), State: JobFailed, Error: "e"},
		TellJob{Job: jobOne(), What: ToldStopped, Head: 14, Sum: sum32, Proof: []ProofExtent{{1, redoubt.Extent{Len: 1}}}},
	}
}

func (m *machine) job() Job {
	m.t.Helper()
	j := m.s.jobs["g"].find(1)
	if j == nil {
		m.t.Fatal("there is no job")
	}
	return *j
}

func TestPlannedFailoverAsAJob(t *testing.T) {
	m := newMachine(t, 3)
	plannedAt(m, StepNone)
	j, g := m.job(), m.group("g")
	if j.State != JobDoneWell || len(j.Steps) != 6 || g.State != StateFailoverCommitPending || g.Writer != "target/n2" || m.s.jobs["g"].Planned != 2 {
		t.Fatalf("job %+v, group %+v", j, g)
	}
	if j.Sum != nil || j.Proof != nil {
		t.Error("a job that is over keeps its proof")
	}
}

// Nothing is promoted but the last write that the source told, by the job's
// driver, in its step.
func TestPlannedFailoverPromotesTheHeadAlone(t *testing.T) {
	m := newMachine(t, 3)
	plannedAt(m, StepPromote)
	head := m.job().Head
	do := func(p Promote, term uint64, st JobStep) StepJob {
		return StepJob{Job: jobOne(), Term: term, Step: st, Finish: true, Do: p}
	}
	m.refused(do(promoteTo(head-1), 1, StepPromote), redoubt.ErrState)
	m.refused(do(promoteTo(head), 2, StepPromote), redoubt.ErrFenced)
	m.refused(do(promoteTo(head), 1, StepCompare), redoubt.ErrState)
	m.refused(promoteTo(head), redoubt.ErrState) // not as part of the job
	m.refused(CancelFailover{Group: "g", NewEpoch: 2}, redoubt.ErrState)
	m.refused(StepJob{Job: jobOne(), Term: 1, Step: StepPromote, Finish: true}, redoubt.ErrState)
	other := promoteTo(head)
	other.Kind = PromoteUnplanned
	m.refused(do(other, 1, StepPromote), redoubt.ErrState)
	m.refused(BeginJob{Job: JobRef{"g", 2}, Kind: JobPlanned, Node: "n1", Epoch: 1}, redoubt.ErrState)
	m.refused(BeginJob{Job: JobRef{"g", 9}, Kind: JobPlanned, Node: "n1", Epoch: 1}, redoubt.ErrFenced)
	m.commit("g", 1) // somebody wrote after the stop
	m.refused(do(promoteTo(head), 1, StepPromote), redoubt.ErrInvalid)
}

// The source ends the first two steps, nobody else.
func TestOnlyTheSourceSaysThatItStopped(t *testing.T) {
	m := newMachine(t, 3)
	for i, st := range []JobStep{StepShip, StepQuiesce} {
		m = newMachine(t, 3)
		plannedAt(m, st)
		m.refused(StepJob{Job: jobOne(), Term: 1, Step: st, Finish: true}, redoubt.ErrState)
		if i == 0 {
			m.must(TellJob{Job: jobOne(), What: ToldStopped, Head: 3, Sum: sum32}) // before it was asked: nothing
			if m.job().Step != StepShip {
				t.Error("a source stopped before it was asked")
			}
		}
	}
	m.refused(TellJob{Job: jobOne(), What: ToldStopped, Sum: sum32}, redoubt.ErrInvalid)
	m.refused(TellJob{Job: JobRef{"g", 7}, What: ToldReady}, redoubt.ErrNotFound)
}

// A job may end at every step. Before the promotion the group is as it was, and the
// record waits for the source's word.
func TestPlannedFailoverEndsAtEveryStep(t *testing.T) {
	for _, st := range JobPlanned.Steps() {
		for _, by := range []string{"operator", "driver", "source"} {
			m := newMachine(t, 3)
			plannedAt(m, st)
			want := JobCancelled
			if st == StepExport && by != "source" { // what is promoted must be exported, or taken back
				m.refused(EndJob{Job: jobOne(), State: JobCancelled}, redoubt.ErrState)
				m.must(BeginJob{Job: JobRef{"g", 2}, Kind: JobCancel, Node: "n1", Epoch: 2, Do: CancelFailover{Group: "g", NewEpoch: 3}})
				if j, g := m.job(), m.group("g"); j.State != JobCancelled || g.State != StateProtected || g.Epoch != 3 {
					t.Errorf("taken back: job %s, group %s", j.State, g.State)
				}
				continue
			}
			switch by {
			case "operator":
				m.must(EndJob{Job: jobOne(), State: JobCancelled})
			case "driver":
				m.must(EndJob{Job: jobOne(), Term: 1, State: JobCancelled})
				m.refused(EndJob{Job: jobOne(), Term: 1, State: JobCancelled}, redoubt.ErrState)
			case "source":
				m.must(TellJob{Job: jobOne(), What: ToldRefused, Why: "no"})
				want = JobFailed
			}
			promoted := st == StepExport
			j, g := m.job(), m.group("g")
			switch {
			case promoted && by == "source":
				if !j.Running() {
					t.Errorf("%s by %s: a source ended what is promoted", st, by)
				}
				continue
			case g.State != StateProtected || g.Epoch != 1 || g.Prior != StateNone:
				t.Errorf("%s by %s: the group is %s, prior %s", st, by, g.State, g.Prior)
			case st == StepShip:
				if j.State != want {
					t.Errorf("%s by %s: the job is %s", st, by, j.State)
				}
				continue
			case j.State != JobCancelling:
				t.Errorf("%s by %s: the job is %s, the source has not gone on", st, by, j.State)
			}
			if by == "driver" { // nothing waits for the source
				m.must(BeginJob{Job: JobRef{"g", 2}, Kind: JobPlanned, Node: "n1", Epoch: 1, Limit: 1})
			}
			m.must(TellJob{Job: jobOne(), What: ToldResumed, Why: "goes on"})
			j = m.job()
			if told := j.Steps[len(j.Steps)-1].Step == StepResume; j.State != want || told == (by == "driver") {
				t.Errorf("%s by %s: at the end %s, %v", st, by, j.State, j.Steps)
			}
		}
	}
}

// Another driver takes over: the word of the old one is void.
func TestClaimMakesTheOldDriverVoid(t *testing.T) {
	m := newMachine(t, 3)
	plannedAt(m, StepDrain)
	m.refused(ClaimJob{Job: jobOne(), Node: "n3", Term: 1}, redoubt.ErrInvalid)
	m.must(ClaimJob{Job: jobOne(), Node: "n3", Term: 2})
	m.refused(ClaimJob{Job: jobOne(), Node: "n1", Term: 2}, redoubt.ErrFenced)
	m.refused(StepJob{Job: jobOne(), Term: 1, Step: StepDrain, Finish: true}, redoubt.ErrFenced)
	m.must(StepJob{Job: jobOne(), Term: 2, Step: StepDrain, Done: 3, Total: 4})
	m.must(StepJob{Job: jobOne(), Term: 2, Step: StepDrain, Finish: true})
	if j := m.job(); j.Step != StepCompare || j.Node != "n3" || j.Total != 0 {
		t.Errorf("%+v", j)
	}
}

func TestJobsAreBoundedAndKeptInSnapshots(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	for i := range uint64(MaxJobs + 5) {
		m.must(BeginJob{Job: JobRef{"g", i + 1}, Kind: JobPlanned, Node: "n1", Epoch: 1, Hydrate: true, Fixed: true, By: "uid 0"})
		if i < MaxJobs+4 {
			m.must(EndJob{Job: JobRef{"g", i + 1}, State: JobFailed, Error: "e", Hint: "h", Now: 5})
		}
	}
	js := m.s.jobs["g"]
	if len(js.List) != MaxJobs || js.List[0].ID != 6 || js.Next != MaxJobs+6 {
		t.Fatalf("%d jobs from %d, next %d", len(js.List), js.List[0].ID, js.Next)
	}
	var b bytes.Buffer
	if err := writeSnapshot(&b, m.s.freeze()); err != nil {
		t.Fatal(err)
	}
	s, err := readSnapshot(&b)
	if err != nil {
		t.Fatal(err)
	}
	back := &machine{t: t, s: s}
	if !bytes.Equal(back.image(), m.image()) || s.jobs["g"].List[3].Hint != "h" || !s.jobs["g"].running().Hydrate {
		t.Error("a snapshot does not keep the jobs")
	}
}
