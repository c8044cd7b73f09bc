package export

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// reverse ships a production instance's journal to the old primary. What
// differs at the start is put into the same journal as copy records, which
// only this stream sends.
type reverse struct {
	p      *production
	addr   string
	peer   string
	cursor *journal.Cursor
	end    context.CancelFunc
	ctx    context.Context // ends with stop
	wg     sync.WaitGroup
	begun  chan struct{} // closed when the stream's start is known
	once   sync.Once

	mu     sync.Mutex
	sender *ship.Sender
	plan   *Resync // nil until there is one: the old primary needs one, or goes on where it was
	err    error
	atIt   bool // a comparison runs
}

// Resync says what a reverse replication has to ship before the old primary is
// whole, and from where.
type Resync struct {
	Peer     string
	Fork     redoubt.Position // the last write that both sides share
	OldHead  redoubt.Position // the old primary's last write
	Orphans  uint64           // writes of the old primary above the fork
	Dirty    map[redoubt.DiskID][]redoubt.Extent
	Bytes    uint64      // of Dirty
	Start    redoubt.LSN // first record of the stream
	Baseline redoubt.LSN // the record after the last copy record; 0 while they are being found
	Journal  string      // of the old primary
	Hashed   bool        // what differs is found by comparing hashes; Bytes is what was found
}

// Reverse begins reverse replication to the group's source and returns once
// the old primary has answered and what differs is known.
func (m *Manager) Reverse(ctx context.Context, id redoubt.GroupID) (Resync, error) {
	g, unlock, err := m.begin(ctx, id)
	if err != nil {
		return Resync{}, err
	}
	defer unlock()
	begins := g.State != catalog.StateReverseReplicating // otherwise it is looked at
	if begins {
		if err := g.Permits(catalog.OpReverseReplicate); err != nil {
			return Resync{}, err
		}
	}
	p, err := m.production(id)
	if err != nil {
		return Resync{}, err
	}
	if begins {
		if g.SourceAddr == "" {
			return Resync{}, &redoubt.Error{Op: "reverse replicate", Object: string(id), Err: redoubt.ErrInvalid,
				Hint: "the source has not said where it listens: set listen and advertise in its redoubtd.yaml and restart it"}
		}
		release := m.hold(id)
		var job catalog.JobRef
		if job, g, err = m.start(ctx, g, catalog.BeginJob{Kind: catalog.JobReverse, Note: "to " + catalog.SourceWriter(g.Source),
			Do: catalog.ReverseReplicate{Group: id, Epoch: g.Epoch, Now: m.o.Now().UnixNano()}}); err != nil {
			release()
			return Resync{}, err
		}
		return m.connect(ctx, p, g, job, release)
	}
	r, err := p.startReverse(g)
	if err != nil {
		return Resync{}, err
	}
	return r.await(ctx)
}

// connect is the job's second step, done for whoever asked. If that one does
// not wait for the old primary's answer, the driver does.
func (m *Manager) connect(ctx context.Context, p *production, g catalog.Group, job catalog.JobRef, release func()) (Resync, error) {
	point := func(when string) {
		crashpoint.Here(crashpoint.Step(catalog.JobReverse.String(), catalog.StepConnect.String(), when))
	}
	point("before")
	r, err := p.startReverse(g)
	if err != nil {
		release()
		return Resync{}, err
	}
	plan, err := r.await(ctx)
	if err != nil {
		release()
		return plan, err
	}
	point("effect")
	m.finish(job, catalog.StepConnect, plan.String(), release)
	return plan, nil
}

// reverseByItself begins the way back after a planned failover that was
// committed, as soon as the old primary answers.
func (m *Manager) reverseByItself() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, p := range m.prod {
		g, ok := m.o.Node.Catalog().Group(id)
		if !ok || g.State != catalog.StateFailedOver || g.SourceAddr == "" || p.Epoch != g.Epoch || m.o.Node.Catalog().PlannedEpoch(id) != g.Epoch || m.asking[id] {
			continue
		}
		m.asking[id] = true
		m.wg.Go(func() {
			defer func() {
				m.mu.Lock()
				delete(m.asking, id)
				m.mu.Unlock()
			}()
			ctx, cancel := context.WithTimeout(m.ctx, takeoverTimeout)
			defer cancel()
			if _, err := p.askSource(ctx, g.SourceAddr); err != nil {
				return // asked again at the next tick
			}
			if _, err := m.Reverse(By(ctx, "the planned failover"), id); err != nil && ctx.Err() == nil {
				m.o.Logger.Warn("reverse replication did not begin by itself", "group", string(id), "err", err, "hint", redoubt.Hint(err))
			}
		})
	}
}

// startReverse starts the stream, if it is not running.
func (p *production) startReverse(g catalog.Group) (*reverse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reverse != nil {
		return p.reverse, nil
	}
	// The cursor must begin where the journal still is: below the store's.
	cursor, err := p.journal.Cursor(reverseCursor, p.journal.Tail()-1)
	if err != nil {
		return nil, err
	}
	r := &reverse{p: p, addr: g.SourceAddr, cursor: cursor, begun: make(chan struct{}), peer: "source/" + g.Source}
	if r.plan, err = p.loadPlan(); err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(p.ctx)
	r.ctx, r.end = ctx, end
	r.wg.Go(func() { r.run(ctx) })
	p.reverse = r
	return r, nil
}

// address is where the old primary listens: the catalog knows when that changes.
func (r *reverse) address() string {
	if g, ok := r.p.m.o.Node.Catalog().Group(r.p.Group); ok && g.SourceAddr != "" {
		return g.SourceAddr
	}
	return r.addr
}

func (r *reverse) stop() {
	r.end()
	r.wg.Wait()
}

func (r *reverse) run(ctx context.Context) {
	p := r.p
	for ctx.Err() == nil {
		s := ship.NewSender(ship.SenderOptions{
			Journal: p.journal, Cursor: reverseCursor, Current: p.disks, Recent: p.disks,
			Hello: func() ship.Hello { return p.hello(true) },
			Dial:  p.dialSource, Addrs: func() []string { return []string{r.address()} },
			OnWelcome: r.onWelcome, OnResync: r.onResync, Logger: p.log, Now: p.m.o.Now,
		})
		r.mu.Lock()
		r.sender = s
		r.mu.Unlock()
		err := s.Run(ctx)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.err = err
		r.mu.Unlock()
		p.log.Error("reverse replication stopped", "err", err, "hint", redoubt.Hint(err))
		p.wait(senderRetry)
	}
}

func (r *reverse) onWelcome(w ship.Welcome) {
	if !w.Resync && !w.Fenced && w.Redirect == "" {
		r.once.Do(func() { close(r.begun) })
		if w.Unknown {
			r.compareOn()
		}
	}
}

// onResync turns what differs into copy records of the journal and returns the
// LSN at which the stream begins. What differs is what the old primary wrote
// above the fork, as far as it or this side's history knows it, and what was
// written here since.
func (r *reverse) onResync(ctx context.Context, w ship.Welcome, dirty map[redoubt.DiskID][]redoubt.Extent) (redoubt.LSN, error) {
	p := r.p
	r.mu.Lock()
	old := r.plan
	r.mu.Unlock()
	if old != nil && old.OldHead == w.Committed && old.Journal == w.Journal && (old.Hashed || !w.Unknown) {
		r.compareOn()
		return old.Start, nil // the same old primary again: it is announced already
	}
	if r.unknown(&w) {
		plan, err := r.hashedPlan(&w)
		if err != nil {
			return 0, err
		}
		r.mu.Lock()
		r.plan = &plan
		r.mu.Unlock()
		r.once.Do(func() { close(r.begun) })
		p.log.Warn("reverse replication begins with a comparison of the disks", "old_head", plan.OldHead.String(), "journal", w.Journal)
		r.compareOn()
		return plan.Start, nil
	}
	plan, err := r.makePlan(ctx, w, dirty)
	if err != nil {
		return 0, err
	}
	if plan.Orphans > 0 {
		r.keepBranch(ctx, &plan, w.DirtyAfter)
	}
	for _, d := range p.Disks {
		for _, e := range plan.Dirty[d.ID] {
			for !e.Empty() {
				n := min(e.Len, redoubt.MaxWriteData-e.Off%redoubt.MaxWriteData)
				ws := []redoubt.Write{{Disk: d.ID, Kind: redoubt.KindCopy, Extent: redoubt.Extent{Off: e.Off, Len: n}}}
				if err := p.disks.AppendControl(ws); err != nil {
					return 0, err
				}
				e.Off, e.Len = e.Off+n, e.Len-n
			}
		}
	}
	ws := []redoubt.Write{{Kind: redoubt.KindBaseline}}
	if err := p.disks.AppendControl(ws); err != nil {
		return 0, err
	}
	plan.Baseline = ws[0].LSN
	r.mu.Lock()
	r.plan = &plan
	r.mu.Unlock()
	r.once.Do(func() { close(r.begun) })
	p.log.Info("reverse replication begins", "bytes", plan.Bytes, "fork", plan.Fork.String(), "orphans", plan.Orphans)
	return plan.Start, nil
}

// keepBranch keeps the point under the tail that the old primary is about to
// save. Without it the tail can be opened for as long as that point is retained.
func (r *reverse) keepBranch(ctx context.Context, plan *Resync, after redoubt.LSN) {
	name := branchPin(fmt.Sprintf("%d-after-%d", plan.OldHead.Epoch, plan.Fork.LSN))
	at := redoubt.Position{Epoch: plan.OldHead.Epoch, LSN: max(after, plan.Fork.LSN)}
	if err := r.p.m.pinBranch(ctx, r.p.Group, name, at); err != nil {
		r.p.log.Warn("the point under the old primary's branch could not be pinned", "point", at.String(), "err", err)
	}
}

func (r *reverse) makePlan(ctx context.Context, w ship.Welcome, dirty map[redoubt.DiskID][]redoubt.Extent) (Resync, error) {
	p := r.p
	old := w.Committed
	p.mu.Lock()
	lineage := p.lineage
	p.mu.Unlock()
	fork, ok := lineage.ForkFrom(old.Epoch)
	if !ok {
		return Resync{}, &redoubt.Error{Op: "reverse replicate", Object: string(p.Group), Err: redoubt.ErrInvalid,
			Hint: "the old primary's history is not part of this group's"}
	}
	fork = min(fork, old.LSN)
	union := extentSet{}
	union.add(dirty)
	if w.DirtyAfter > fork { // trimmed there, because it is safe here
		known, err := p.m.o.Store.History().Changed(ctx, p.Group, redoubt.Stretch{Epoch: old.Epoch, From: fork, To: w.DirtyAfter})
		if err != nil {
			return Resync{}, err
		}
		union.add(known)
	}
	// Our own writes: what the history has, then what only the journal has.
	// Everything up to head is in the union; later writes are in the stream.
	head := p.journal.Head().LSN
	stored := p.store.Acked()
	for _, s := range lineage.Path(redoubt.Position{Epoch: p.Epoch, LSN: stored}) {
		if s.Epoch == old.Epoch {
			s.From = fork
		}
		if s.Epoch < old.Epoch || s.From >= s.To {
			break
		}
		known, err := p.m.o.Store.History().Changed(ctx, p.Group, s)
		if err != nil {
			return Resync{}, err
		}
		union.add(known)
	}
	mine, err := p.journal.Dirty(stored)
	if err != nil {
		return Resync{}, err
	}
	union.add(mine)
	if err := r.cursor.Ack(head); err != nil {
		return Resync{}, err
	}
	plan := Resync{Peer: r.peer, Journal: w.Journal, Start: head + 1, Fork: redoubt.Position{Epoch: old.Epoch, LSN: fork}, OldHead: old, Orphans: uint64(old.LSN - fork), Dirty: within(union.merged(), p.Disks)}
	for _, es := range plan.Dirty {
		for _, e := range es {
			plan.Bytes += e.Len
		}
	}
	return plan, nil
}

// await returns the plan once the old primary has answered.
func (r *reverse) await(ctx context.Context) (Resync, error) {
	for {
		select {
		case <-r.begun:
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.plan == nil { // it goes on where it was
				return Resync{Peer: r.peer}, nil
			}
			return *r.plan, nil
		case <-ctx.Done():
			r.mu.Lock()
			err := r.err
			r.mu.Unlock()
			return Resync{}, &redoubt.Error{Op: "reach the old primary at", Object: r.address(), Err: errors.Join(redoubt.ErrUnavailable, err),
				Hint: "reverse replication begins by itself when the old primary answers; `redoubt status` shows it"}
		case <-time.After(100 * time.Millisecond):
			r.mu.Lock()
			err, s := r.err, r.sender
			r.mu.Unlock()
			if err == nil && s != nil { // the sender tries again; an operator must do something first
				if last := s.Status().LastError; errors.Is(last, redoubt.ErrState) {
					err = last
				}
			}
			if err != nil && !errors.Is(err, redoubt.ErrUnavailable) {
				return Resync{}, err
			}
		}
	}
}
