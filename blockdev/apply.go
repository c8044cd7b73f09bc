package blockdev

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// applier moves writes from memory to the backings, in rounds: after every
// ApplyInterval, when a quarter of the memory is used, or when somebody waits.
func (g *Group) applier() {
	defer g.ends.Done()
	tick := time.NewTicker(g.o.ApplyInterval)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
		case <-g.kick:
		}
		if g.Err() != nil {
			continue // nothing more reaches the backings; wait for stop
		}
		if err := g.round(); err != nil {
			g.fail("apply journal to disks", err)
		}
	}
}

func (g *Group) kickApplier() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// round writes everything up to the present head to the backings and frees its
// memory: reads find it in the backings' page cache. Making it durable there is
// the syncer's. Only one round runs at a time.
func (g *Group) round() error {
	g.mu.Lock()
	upTo, bytes := g.head, g.active
	if upTo == g.written {
		g.mu.Unlock()
		return nil
	}
	for _, v := range g.volumes {
		v.disk.freeze()
	}
	g.active = 0
	g.since.freeze()
	g.mu.Unlock()

	// Only what the journal cannot lose may reach a backing: after a power cut
	// the order goes on from the journal's last record, and a disk that has more
	// than the journal would differ from the secondary for ever.
	if err := g.j.Sync(context.Background(), upTo); err != nil {
		return err
	}
	for _, v := range g.volumes {
		n, calls, err := v.disk.apply()
		v.disk.count.applied.Add(n)
		v.disk.count.appliedCalls.Add(uint64(calls))
		if err != nil {
			return err
		}
	}
	for _, v := range g.volumes {
		v.disk.drop()
	}
	g.chunks.release(upTo)

	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= bytes
	g.unsynced += bytes
	g.written = upTo
	g.since.wrote()
	g.rounds++
	g.wake()
	if st := g.j.Stats(); g.unsynced >= g.o.SyncBytes || st.UsedBytes >= st.MaxBytes/4 {
		g.kickSyncer()
	}
	return nil
}

// Drain returns when every write that was acknowledged before the call is in
// its backing and synced there.
func (g *Group) Drain(ctx context.Context) error {
	g.mu.Lock()
	upTo := g.head
	for g.applied < upTo {
		if g.failed != nil {
			defer g.mu.Unlock()
			return g.failed
		}
		changed := g.changed
		if g.written < upTo {
			g.kickApplier()
		} else {
			g.kickSyncer()
		}
		g.mu.Unlock()
		select {
		case <-changed:
		case <-g.stop:
			return &redoubt.Error{Op: "drain", Err: redoubt.ErrClosed}
		case <-ctx.Done():
			return &redoubt.Error{Op: "drain", Err: ctx.Err()}
		}
		g.mu.Lock()
	}
	g.mu.Unlock()
	return nil
}

// Reset drains the group and makes its journal forget all records: the next
// one has LSN p.LSN+1 in epoch p.Epoch. The caller has made clients read-only
// and nobody replicates meanwhile; redoubt.ErrState if a write came in between.
func (g *Group) Reset(ctx context.Context, p redoubt.Position) error {
	if err := g.Drain(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.head != g.applied {
		return &redoubt.Error{Op: "reset journal", Err: redoubt.ErrState, Hint: "stop the writers first"}
	}
	if err := g.j.Reset(p); err != nil {
		return err
	}
	g.head, g.written, g.applied = p.LSN, p.LSN, p.LSN
	g.chunks.release(p.LSN)
	return nil
}
