package target

import (
	"context"
	"errors"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// order is what the group's newest planned failover asks of the source; nil if
// it asks for nothing.
func (s *Store) order(g *catalog.Group) *ship.JobOrder {
	j, ok := s.catalog.Job(g.ID, 0)
	if !ok || j.Kind != catalog.JobPlanned || j.Epoch != g.Epoch {
		return nil
	}
	switch {
	case j.Running() && g.State == catalog.StateFailingOver:
		return &ship.JobOrder{ID: j.ID, Step: j.Step.String(), Limit: j.Limit}
	case j.State == catalog.JobCancelling:
		return &ship.JobOrder{ID: j.ID, Step: catalog.StepResume.String()}
	}
	return nil
}

// tell records what a source says of its job, and returns the group as it is then.
func (s *Store) tell(ctx context.Context, g catalog.Group, r *ship.JobReport) (catalog.Group, error) {
	c := catalog.TellJob{Job: catalog.JobRef{Group: g.ID, ID: r.ID}, Head: r.Head, Acked: r.Acked, Held: r.Held, Sum: r.Sum,
		Why: r.Why, Hint: r.Hint, Now: s.o.Now().UnixNano()}
	switch r.What {
	case ship.JobProgress:
		c.What = catalog.ToldProgress
	case ship.JobReady:
		c.What = catalog.ToldReady
	case ship.JobStopped:
		c.What = catalog.ToldStopped
	case ship.JobRefused:
		c.What = catalog.ToldRefused
	case ship.JobResumed:
		c.What = catalog.ToldResumed
	}
	for _, x := range r.Proof {
		c.Proof = append(c.Proof, catalog.ProofExtent(x))
	}
	_, err := s.node.Propose(ctx, c)
	if err != nil && !errors.Is(err, redoubt.ErrNotFound) { // of a job that is forgotten: it is over
		return g, err
	}
	return s.group(g.ID)
}

// jobNews is what a stream's source was last told of.
type jobNews struct {
	id   uint64
	step string
}

// noteJob tells the source to ask, when the order for it has changed.
func (st *stream) noteJob(g *catalog.Group) {
	var n jobNews
	if o := st.s.order(g); o != nil {
		n = jobNews{o.ID, o.Step}
	}
	if n == st.job {
		return
	}
	st.job = n
	select {
	case st.notice <- struct{}{}:
	default:
	}
}

// Notice is part of ship's contract of a Stream.
func (st *stream) Notice() <-chan struct{} { return st.notice }
