package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
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
func (m *Manager) Failback(ctx context.Context, id redoubt.GroupID) (Failback, error) {
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		return Failback{}, err
	}
	defer unlock()
	if g.State != cluster.StateReverseReplicating {
		return Failback{}, refused("failback", g)
	}
	p, err := m.production(id)
	if err != nil {
		return Failback{}, err
	}
	if err := p.catchUp(ctx); err != nil {
		return Failback{}, err
	}
	frozen := m.o.Now()
	head, err := p.drain(ctx)
	if err != nil {
		p.disks.SetReadOnly(nil)
		return Failback{}, err
	}
	after, err := m.giveBack(ctx, g, head)
	if err != nil {
		return Failback{}, err
	}
	out := Failback{Position: redoubt.Position{Epoch: g.Epoch, LSN: head}, Epoch: after.Epoch, Writer: after.Writer}
	p.awaitWriter(ctx, after.Epoch)
	out.Paused = m.o.Now().Sub(frozen)
	m.o.Logger.Warn("failed back", "group", string(id), "position", out.Position.String(), "epoch", after.Epoch, "paused", out.Paused)
	return out, m.dropProduction(id)
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
				Hint: fmt.Sprintf("the last writes could not be shipped in time: primary at %d, history at %d, head %d; the disks here are writable again", back.Acked(), p.store.Acked(), head)}
		}
	}
	return head, nil
}

// giveBack raises the epoch with the source as the writer. The answer to a
// lost proposal is looked up, so that both sides are never writable.
func (m *Manager) giveBack(ctx context.Context, g cluster.Group, head redoubt.LSN) (cluster.Group, error) {
	after, err := m.propose(ctx, g, cluster.Promote{
		Group: g.ID, Kind: cluster.PromoteFailback, Point: redoubt.Position{Epoch: g.Epoch, LSN: head}, NewEpoch: g.Epoch + 1,
		Writer: cluster.SourceWriter(g.Source), KnownHead: head, KnownHeadTime: g.CommittedTime,
		LastContact: m.o.Now().UnixNano(), Now: m.o.Now().UnixNano(),
	})
	if err == nil {
		return after, nil
	}
	lookup, cancel := context.WithTimeout(m.ctx, drainTimeout)
	defer cancel()
	now, lerr := m.group(lookup, g.ID)
	switch {
	case lerr != nil:
		return g, &redoubt.Error{Op: "fail back", Object: string(g.ID), Err: err,
			Hint: "whether the epoch was raised is unknown; the disks here stay read-only until the catalog answers: run failback again"}
	case now.Epoch > g.Epoch:
		return now, nil
	}
	if p, perr := m.production(g.ID); perr == nil {
		p.disks.SetReadOnly(nil)
	}
	return g, err
}

// awaitWriter waits until the source says that it is in the new epoch, for a
// bounded time: the failback stands either way.
func (p *production) awaitWriter(ctx context.Context, e redoubt.Epoch) {
	ctx, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	for {
		if w, err := p.askSource(ctx); err == nil && w.Epoch >= e {
			return
		}
		if sleep(ctx, poll) != nil {
			p.log.Warn("the old primary has not taken over yet; it will when it reaches the secondary", "epoch", e)
			return
		}
	}
}

// askSource asks the old primary which epoch it is in.
func (p *production) askSource(ctx context.Context) (ship.Welcome, error) {
	p.mu.Lock()
	addr := p.reverse.addr
	p.mu.Unlock()
	conn, err := p.m.o.DialSource(ctx, addr)
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
