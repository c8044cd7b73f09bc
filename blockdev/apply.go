package blockdev

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// applier moves writes from memory to the backings, in rounds: after every
// ApplyInterval, when a quarter of the memory is used, or when somebody waits.
func (g *Group) applier() {
	g.repeat(g.o.ApplyInterval, g.kick, "apply journal to disks", g.round)
}

// repeat does work after every interval and when now is signalled, until the
// group stops. The first failure latches; nothing reaches the backings after it.
func (g *Group) repeat(interval time.Duration, now <-chan struct{}, op string, work func() error) {
	defer g.ends.Done()
	giveWay()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-tick.C:
		case <-now:
		}
		if g.Err() != nil {
			continue
		}
		if err := work(); err != nil {
			g.fail(op, err)
		}
	}
}

// loopNice is taken from the processor share of the two loops.
const loopNice = 5

// giveWay makes the calling goroutine's work give way to clients: it gets a
// thread of its own, which is nicer. On few processors a round would otherwise
// hold up flushes for some milliseconds.
func giveWay() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, loopNice)
}

// signal wakes who repeats on ch; one signal that waits is enough.
func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (g *Group) kickApplier() { signal(g.kick) }

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
	g.recent.freeze()
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

	g.mu.Lock()
	defer g.mu.Unlock()
	g.recent.drop()
	g.chunks.release(upTo) // inside mu: see Recent
	g.used -= bytes
	g.unsynced += bytes
	g.written = upTo
	g.since.wrote()
	g.rounds++
	g.wake()
	if st := g.j.Stats(); g.unsynced >= g.o.SyncBytes || st.UsedBytes >= st.MaxBytes/2 && st.Acked > st.Applied {
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
// one has LSN p.LSN+1 in epoch p.Epoch. Whoever writes waits meanwhile.
func (g *Group) Reset(ctx context.Context, p redoubt.Position) error {
	g.mu.Lock()
	g.stopped++
	g.mu.Unlock()
	err := g.Drain(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.wake()
	g.stopped--
	if err != nil {
		return err
	}
	if err := g.j.Reset(p); err != nil {
		return err
	}
	g.head, g.written, g.applied = p.LSN, p.LSN, p.LSN
	g.recent.forget()
	g.chunks.release(p.LSN)
	return nil
}
