package service

import (
	"context"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/target"
)

// rootJob computes the root hash of a point.
type rootJob struct {
	at     redoubt.Position
	before string // the root that was found for the point earlier
	end    context.CancelFunc

	mu sync.Mutex
	st *adminv1.VerifyStatus
}

// rootJobs are the newest ones of this node, one for each group.
type rootJobs struct {
	mu sync.Mutex
	wg sync.WaitGroup
	by map[redoubt.GroupID]*rootJob
}

// close ends the jobs.
func (j *rootJobs) close() error {
	j.mu.Lock()
	for _, job := range j.by {
		job.end()
	}
	j.mu.Unlock()
	j.wg.Wait()
	return nil
}

func (s *Service) resolvePoint(ctx context.Context, id redoubt.GroupID, at string) (redoubt.Position, error) {
	if s.target == nil {
		return redoubt.Position{}, &redoubt.Error{Op: "verify point of", Object: string(id), Err: redoubt.ErrState,
			Hint: "points are at the secondary: --server https://HOST:PORT of a master target"}
	}
	p, err := admin.ParsePoint(at)
	if err != nil {
		return redoubt.Position{}, err
	}
	spec, err := pointSpec(p)
	if err != nil {
		return redoubt.Position{}, err
	}
	pos, _, err := s.target.Store.History().Resolve(ctx, id, spec)
	return pos, err
}

// verifyPoint begins, or gives up, the computation of a root hash.
func (s *Service) verifyPoint(ctx context.Context, id redoubt.GroupID, r *adminv1.VerifyRequest) (*adminv1.VerifyStatus, error) {
	at, err := s.resolvePoint(ctx, id, r.GetAt())
	if err != nil {
		return nil, err
	}
	jobs := &s.roots
	jobs.mu.Lock()
	defer jobs.mu.Unlock()
	job := jobs.by[id]
	switch {
	case r.GetStop():
		if job != nil && job.at == at {
			job.end()
		}
	case job != nil && job.running() && job.at != at:
		return nil, &redoubt.Error{Op: "verify point of", Object: string(id), Err: redoubt.ErrState, Hint: "the root of " + job.at.String() + " is being computed; wait, or give it up with --stop"}
	case job == nil || !job.running():
		job = s.startRoot(id, at)
		jobs.by[id] = job
	}
	return job.status(at), nil
}

func (s *Service) startRoot(id redoubt.GroupID, at redoubt.Position) *rootJob {
	t := s.target
	ctx, end := context.WithCancel(context.Background())
	now := time.Now()
	job := &rootJob{at: at, end: end, before: rootBefore(t.Node.Catalog().Verifications(id), at, now.UnixNano())}
	job.st = &adminv1.VerifyStatus{Running: true, Started: stamp(now), EarlierRoot: job.before}
	s.roots.wg.Go(func() { job.run(ctx, t.Store, id) })
	return job
}

func (j *rootJob) run(ctx context.Context, st *target.Store, id redoubt.GroupID) {
	r, err := st.Root(ctx, id, j.at, func(done, all uint64) {
		j.mu.Lock()
		j.st.DoneBlocks, j.st.AllBlocks = done, all
		j.mu.Unlock()
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.st.Running = false
	if err != nil {
		j.st.Error, j.st.Hint = err.Error(), redoubt.Hint(err)
		return
	}
	j.st.Last = verification(r, nil)
}

func (j *rootJob) running() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.st.Running
}

// status returns a copy of the job's status, empty if it is for another point.
func (j *rootJob) status(at redoubt.Position) *adminv1.VerifyStatus {
	if j == nil || j.at != at {
		return &adminv1.VerifyStatus{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return &adminv1.VerifyStatus{Running: j.st.Running, Started: j.st.Started, DoneBlocks: j.st.DoneBlocks, AllBlocks: j.st.AllBlocks,
		Last: j.st.Last, Error: j.st.Error, Hint: j.st.Hint, EarlierRoot: j.st.EarlierRoot}
}

// pointStatus tells how far the computation for a point is.
func (s *Service) pointStatus(ctx context.Context, id redoubt.GroupID, at string) (*adminv1.VerifyStatus, error) {
	p, err := s.resolvePoint(ctx, id, at)
	if err != nil {
		return nil, err
	}
	s.roots.mu.Lock()
	defer s.roots.mu.Unlock()
	return s.roots.by[id].status(p), nil
}
