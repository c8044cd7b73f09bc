package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// Failback is the result of a failback.
type Failback struct {
	Position redoubt.Position // the last write of the secondary
	Epoch    redoubt.Epoch    // the primary's new epoch
	Writer   string
	Paused   time.Duration // from the freeze here to the primary's first contact as the writer
}

const (
	// catchUpTimeout bounds the wait for the old primary before the freeze.
	catchUpTimeout = 10 * time.Minute
	// drainTimeout bounds the freeze: after it the failback is called off.
	drainTimeout = 60 * time.Second
	// takeoverTimeout bounds the wait for the primary's first contact.
	takeoverTimeout = 30 * time.Second
	poll            = 20 * time.Millisecond
)

// Failback moves the writer back to the old primary without losing a write: it
// waits until the primary is whole and close behind, freezes the disks here,
// ships what is left to the primary and into the history, and raises the epoch
// with the primary as its writer. If the rest cannot be shipped in time, the
// disks here are writable again and nothing has changed.
//
// It is a job: when ctx ends it goes on, and another call waits for the same one.
func (m *Manager) Failback(ctx context.Context, id redoubt.GroupID) (Failback, error) {
	g, err := m.group(ctx, id)
	if err != nil {
		return Failback{}, err
	}
	j, running := m.o.Node.Catalog().RunningJob(id)
	r := ref(j)
	if !running || j.Kind != catalog.JobFailback {
		m.idle(ctx, id)
		if g.State != catalog.StateReverseReplicating {
			return Failback{}, refused("failback", g)
		}
		if _, err := m.production(id); err != nil {
			return Failback{}, err
		}
		if r, _, err = m.start(ctx, g, catalog.BeginJob{Kind: catalog.JobFailback, Limit: int64(drainTimeout), Fixed: true}); err != nil {
			return Failback{}, err
		}
	}
	if j, err = m.await(ctx, r); err != nil {
		return Failback{}, err
	}
	if g, err = m.group(ctx, id); err != nil {
		return Failback{}, err
	}
	return Failback{Position: g.Promoted, Epoch: g.Epoch, Writer: g.Writer, Paused: time.Duration(j.Held)}, nil
}

// caughtUp is the job's step catch-up.
func (m *Manager) caughtUp(ctx context.Context, g catalog.Group) (done, error) {
	p, err := m.awaitProduction(ctx, g)
	if err != nil {
		return done{}, err
	}
	return done{note: "the old primary is whole and close behind"}, p.catchUp(ctx)
}

// awaitProduction returns the group's production: after a restart it takes a
// moment until it is open again.
func (m *Manager) awaitProduction(ctx context.Context, g catalog.Group) (*production, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		p, err := m.production(g.ID)
		if err == nil && p.Epoch == g.Epoch || sleep(ctx, poll) != nil {
			return p, err
		}
	}
}

// outlive is asked before disks are opened again after a restart: they will be
// writable, and the process before may have sent the word that gives them up. The
// claim makes that word void, or the epoch shows that it was heard: then over is true.
func (m *Manager) outlive(s Spec) (over bool, err error) {
	j, ok := m.o.Node.Catalog().RunningJob(s.Group)
	if !ok || s.Kind != KindFailover || j.Kind != catalog.JobFailback {
		return false, nil
	}
	_, err = m.o.Node.Propose(m.ctx, catalog.ClaimJob{Job: ref(j), Node: m.o.ID, Term: j.Term + 1, Now: m.o.Now().UnixNano()})
	if err != nil && !errors.Is(err, redoubt.ErrState) && !errors.Is(err, redoubt.ErrFenced) {
		return false, err
	}
	g, err := m.group(m.ctx, s.Group)
	return err == nil && g.Epoch != s.Epoch, err
}

// switched is the job's step switch: the disks here are frozen, the rest is
// shipped, and the epoch goes to the source. It is one step, because a crash
// opens the disks writable again: then all of it is done anew.
func (m *Manager) switched(ctx context.Context, g catalog.Group) (done, error) {
	p, err := m.awaitProduction(ctx, g)
	if err != nil {
		return done{}, err
	}
	if err := p.catchUp(ctx); err != nil {
		return done{}, err
	}
	p.frozenAt(m.o.Now())
	head, err := p.drain(ctx)
	if err != nil {
		return done{}, err
	}
	now := m.o.Now().UnixNano()
	return done{note: fmt.Sprintf("the last write here is %d:%d", g.Epoch, head), do: catalog.Promote{
		Group: g.ID, Kind: catalog.PromoteFailback, Point: redoubt.Position{Epoch: g.Epoch, LSN: head}, NewEpoch: g.Epoch + 1,
		Writer: catalog.SourceWriter(g.Source), KnownHead: head, KnownHeadTime: g.CommittedTime, LastContact: now, Now: now}}, nil
}

// written is the job's step writer.
func (m *Manager) written(ctx context.Context, g catalog.Group) (done, error) {
	p, err := m.production(g.ID)
	if err != nil { // the node was started anew, and found the epoch gone
		return done{note: g.Writer + " writes again when it reaches the secondary"}, nil
	}
	p.awaitWriter(ctx, g.SourceAddr, g.Epoch)
	out := done{note: g.Writer + " writes again"}
	if at := p.frozenSince(); !at.IsZero() {
		out.held = m.o.Now().Sub(at)
	}
	m.o.Logger.Warn("failed back", "group", string(g.ID), "position", g.Promoted.String(), "epoch", g.Epoch, "paused", out.held)
	return out, nil
}

// catchUp waits until the old primary has the baseline and is less than a
// second's worth of writes behind.
func (p *production) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	for {
		s := p.reverseStatus()
		if s != nil && s.Connected && s.InSync {
			return nil
		}
		if err := sleep(ctx, poll); err != nil {
			hint := "reverse replication is not running; `redoubt reverse` starts it"
			if s != nil {
				hint = fmt.Sprintf("the old primary is not in sync: connected %v, %d of %d bytes copied, last error %q", s.Connected, s.Copied, s.Plan.Bytes, s.LastError)
			}
			return &redoubt.Error{Op: "fail back", Object: string(p.Group), Err: redoubt.ErrUnavailable, Hint: hint}
		}
	}
}

// drain freezes the disks and ships all that is left to both sides.
func (p *production) drain(ctx context.Context) (redoubt.LSN, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	head, err := p.freeze(ctx, redoubt.ErrReadOnly)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	back := p.reverse.cursor
	p.mu.Unlock()
	for back.Acked() < head || p.store.Acked() < head {
		if err := sleep(ctx, poll); err != nil {
			return 0, &redoubt.Error{Op: "fail back", Object: string(p.Group), Err: redoubt.ErrUnavailable,
				Hint: fmt.Sprintf("the last writes could not be shipped in time: primary at %d, history at %d, head %d; the disks here become writable again", back.Acked(), p.store.Acked(), head)}
		}
	}
	return head, nil
}

// awaitWriter waits until the source says that it is in the new epoch, for a
// bounded time: the failback stands either way.
func (p *production) awaitWriter(ctx context.Context, addr string, e redoubt.Epoch) {
	ctx, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	for {
		if w, err := p.askSource(ctx, addr); err == nil && w.Epoch >= e {
			return
		}
		if sleep(ctx, poll) != nil {
			p.log.Warn("the old primary has not taken over yet; it will when it reaches the secondary", "epoch", e)
			return
		}
	}
}

// askSource asks the old primary which epoch it is in.
func (p *production) askSource(ctx context.Context, addr string) (ship.Welcome, error) {
	conn, err := p.dialSource(ctx, addr)
	if err != nil {
		return ship.Welcome{}, err
	}
	h := p.hello(true)
	h.Probe = true
	w, err := ship.Probe(ctx, conn, h)
	return w, errors.Join(err, conn.Close())
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
