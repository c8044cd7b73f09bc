package export

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

const (
	// driveTick is how often it is looked for jobs that nobody drives, beside
	// every change of the catalog.
	driveTick = time.Second
	// nodeGone is how long a job's node must be away before the group's owner
	// takes the job, or ends it.
	nodeGone = 10 * time.Second
	// finishing is how long an operation waits for the one before to be recorded.
	finishing = 5 * time.Second
)

type byKey struct{}

// By returns a context that says who asks: it stands in the records of jobs.
func By(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, byKey{}, who)
}

func by(ctx context.Context) string {
	if s, ok := ctx.Value(byKey{}).(string); ok {
		return clip(s)
	}
	return ""
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), catalog.MaxNote)], "") }

// drive takes up jobs that this node has to drive, until Close.
func (m *Manager) drive() {
	t := time.NewTicker(driveTick)
	defer t.Stop()
	away := map[redoubt.NodeID]time.Time{} // since when nodes with jobs do not answer
	for {
		changed := m.o.Node.Catalog().Changed()
		for _, j := range m.o.Node.Catalog().RunningJobs() {
			if m.drives(j, away) {
				m.take(j)
			}
		}
		select {
		case <-m.ctx.Done():
			return
		case <-changed:
		case <-t.C:
			m.reverseByItself()
		}
	}
}

// drives reports whether this node has to drive the job: it is named in it, or
// it owns the group and the node that is named is gone and not needed.
func (m *Manager) drives(j catalog.Job, away map[redoubt.NodeID]time.Time) bool {
	if j.Node == m.o.ID {
		return true
	}
	g, ok := m.o.Node.Catalog().Group(j.Group)
	if !ok || g.Owner != m.o.ID {
		return false
	}
	if m.o.Node.Alive(j.Node) {
		delete(away, j.Node)
		return false
	}
	since, seen := away[j.Node]
	if !seen {
		away[j.Node] = m.o.Now()
	}
	return seen && m.o.Now().Sub(since) >= nodeGone && inherits(j)
}

// inherits reports whether a job can go on, or be ended, without its node: what
// the node exports needs the node.
func inherits(j catalog.Job) bool {
	switch j.Step {
	case catalog.StepClose, catalog.StepWriter:
		return true
	}
	return (j.Kind == catalog.JobPlanned || j.Kind == catalog.JobFailback) && !j.Promoted()
}

// take drives the job in the background, unless this node does already.
func (m *Manager) take(j catalog.Job) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.driving[j.Group] != nil || m.held[j.Group] > 0 {
		return
	}
	ctx, end := context.WithCancel(m.ctx)
	m.driving[j.Group] = end
	m.wg.Go(func() {
		defer func() {
			end()
			m.mu.Lock()
			delete(m.driving, j.Group)
			m.mu.Unlock()
		}()
		m.run(ctx, end, j)
	})
}

// run drives the job until ctx is done, which end brings about.
func (m *Manager) run(ctx context.Context, end func(), j catalog.Job) {
	unlock, err := m.lock(ctx, j.Group)
	if err != nil {
		return
	}
	defer unlock()
	log := m.o.Logger.With("group", string(j.Group), "job", j.ID, "kind", j.Kind.String())
	now, ok := m.o.Node.Catalog().Job(j.Group, j.ID)
	if !ok || !now.Running() {
		return // whoever had the lock has ended it
	}
	inherited := now.Node != m.o.ID
	now.Term++
	if _, err := m.o.Node.Propose(ctx, catalog.ClaimJob{Job: ref(now), Node: m.o.ID, Term: now.Term, Now: m.o.Now().UnixNano()}); err != nil {
		log.Debug("job not claimed", "err", err)
		return
	}
	log.Info("driving a job", "step", now.Step.String(), "inherited", inherited)
	m.wg.Go(func() { m.watch(ctx, end, ref(now), now.Term) })
	d := &driver{jobs: m.o.Node, me: m.o.ID, now: m.o.Now, here: crashpoint.Here, warn: log.Warn, pause: sleep,
		perform: func(ctx context.Context, g catalog.Group, j catalog.Job) (done, error) {
			if inherited && (j.Fixed || j.Kind == catalog.JobFailback && !j.Promoted()) {
				return done{}, &redoubt.Error{Op: j.Kind.String(), Object: string(g.ID), Err: fmt.Errorf("node %s is gone: %w", now.Node, redoubt.ErrUnavailable), Hint: "bring the node back, or choose another one"}
			}
			return m.perform(ctx, g, j)
		}}
	if err := d.run(ctx, ref(now), now.Term); err != nil && m.ctx.Err() == nil && ctx.Err() == nil {
		log.Warn("the job is not driven any more", "err", err)
	}
	end()
	m.leave(now)
}

// watch ends the run of a job that was ended by somebody else, or has another driver.
func (m *Manager) watch(ctx context.Context, end context.CancelFunc, r catalog.JobRef, term uint64) {
	for {
		changed := m.o.Node.Catalog().Changed()
		if j, ok := m.o.Node.Catalog().Job(r.Group, r.ID); !ok || !j.Running() || j.Term > term {
			end()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// leave is called when a job is not driven here any more, whatever the reason: a
// failback that came to nothing lets the disks here be written again, once
// it is known that the epoch was not raised.
func (m *Manager) leave(j catalog.Job) {
	if j.Kind != catalog.JobFailback {
		return
	}
	for m.ctx.Err() == nil {
		g, err := m.group(m.ctx, j.Group)
		now, ok := m.o.Node.Catalog().Job(j.Group, j.ID)
		p, perr := m.production(j.Group)
		switch {
		case perr != nil || errors.Is(err, redoubt.ErrNotFound):
			return
		case err == nil && g.Epoch == p.Epoch && (!ok || !now.Running()):
			p.disks.SetReadOnly(nil)
			return
		case err == nil && g.Epoch != p.Epoch:
			return
		}
		_ = sleep(m.ctx, stepRetry)
	}
}

// start begins a job and returns its name and the group as it is then.
func (m *Manager) start(ctx context.Context, g catalog.Group, c catalog.BeginJob) (catalog.JobRef, catalog.Group, error) {
	c.Job = catalog.JobRef{Group: g.ID, ID: m.o.Node.Catalog().NextJob(g.ID)}
	c.By, c.Node, c.Epoch, c.Now = by(ctx), m.o.ID, g.Epoch, m.o.Now().UnixNano()
	c.Note = clip(c.Note)
	crashpoint.Here(crashpoint.Step(c.Kind.String(), "begin", "before"))
	after, err := m.propose(ctx, g, c)
	if err == nil {
		crashpoint.Here(crashpoint.Step(c.Kind.String(), "begin", "after"))
	}
	return c.Job, after, err
}

// finish records in the background that the job's step is done: whoever asked
// need not wait for it. If this node stops before, the job is taken up again.
func (m *Manager) finish(r catalog.JobRef, st catalog.JobStep, note string, release func()) {
	m.wg.Go(func() {
		defer release()
		_, err := m.o.Node.Propose(m.ctx, catalog.StepJob{Job: r, Term: 1, Step: st, Finish: true, Note: clip(note), Now: m.o.Now().UnixNano()})
		if err != nil {
			m.o.Logger.Debug("a step was not recorded here", "group", string(r.Group), "job", r.ID, "step", st.String(), "err", err)
		} else if j, ok := m.o.Node.Catalog().Job(r.Group, r.ID); ok {
			crashpoint.Here(crashpoint.Step(j.Kind.String(), st.String(), "after"))
		}
	})
}

// hold keeps the job that the caller is about to begin from being driven here
// until release: the caller does its steps. What only opens disks, again and
// again if need be, is interrupted: the caller may want other ones.
func (m *Manager) hold(id redoubt.GroupID) (release func()) {
	j, running := m.o.Node.Catalog().RunningJob(id)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held[id]++
	if end := m.driving[id]; end != nil && running && j.Step == catalog.StepExport {
		end()
	}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.held[id]--; m.held[id] == 0 {
			delete(m.held, id)
		}
	}
}

// idle waits a moment for a job that only has to be recorded as done.
func (m *Manager) idle(ctx context.Context, id redoubt.GroupID) {
	ctx, cancel := context.WithTimeout(ctx, finishing)
	defer cancel()
	for {
		changed := m.o.Node.Catalog().Changed()
		j, ok := m.o.Node.Catalog().RunningJob(id)
		if !ok || !retries(j.Step) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// await returns the job when it is over.
func (m *Manager) await(ctx context.Context, r catalog.JobRef) (catalog.Job, error) {
	for {
		changed := m.o.Node.Catalog().Changed()
		j, ok := m.o.Node.Catalog().Job(r.Group, r.ID)
		if !ok {
			return j, &redoubt.Error{Op: "wait for job of group", Object: string(r.Group), Err: redoubt.ErrNotFound}
		}
		if !j.Running() {
			return j, jobError(j)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return j, &redoubt.Error{Op: "wait for job of group", Object: string(r.Group), Err: ctx.Err(),
				Hint: fmt.Sprintf("it goes on: redoubt job show %s %d", r.Group, r.ID)}
		}
	}
}

// jobError is what a job came to, as an error; nil if it is done.
func jobError(j catalog.Job) error {
	state := j.State
	if state == catalog.JobCancelling {
		state = j.Outcome
	}
	switch state {
	case catalog.JobFailed:
		return &redoubt.Error{Op: j.Kind.String() + " of", Object: string(j.Group), Err: recorded{j.Error, redoubt.ErrUnavailable}, Hint: j.Hint}
	case catalog.JobCancelled:
		return &redoubt.Error{Op: j.Kind.String() + " of", Object: string(j.Group), Err: recorded{j.Error, redoubt.ErrState}, Hint: j.Hint}
	}
	return nil
}

// recorded is a job's error, which names its cause already.
type recorded struct {
	text string
	is   error
}

func (e recorded) Error() string { return e.text }
func (e recorded) Unwrap() error { return e.is }

// Await returns the job when it is over; its error is the job's.
func (m *Manager) Await(ctx context.Context, r catalog.JobRef) (catalog.Job, error) {
	return m.await(ctx, r)
}

// CancelJob ends a job; what it has done so far stands, but for a planned
// failover or failback before its promotion, which leaves nothing. It is
// allowed on every node.
func (m *Manager) CancelJob(ctx context.Context, id redoubt.GroupID, job uint64) (catalog.Job, error) {
	if err := m.o.Node.Barrier(ctx); err != nil {
		return catalog.Job{}, err
	}
	j, ok := m.o.Node.Catalog().Job(id, job)
	if job == 0 && (!ok || !j.Running()) || !ok {
		return catalog.Job{}, &redoubt.Error{Op: "cancel job of group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt job list` names the jobs"}
	}
	_, err := m.o.Node.Propose(ctx, catalog.EndJob{Job: ref(j), State: catalog.JobCancelled, Error: clip("cancelled by " + by(ctx)), Now: m.o.Now().UnixNano()})
	if err != nil {
		return j, err
	}
	j, _ = m.o.Node.Catalog().Job(id, j.ID)
	return j, nil
}
