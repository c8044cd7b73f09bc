package export

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// The cursors of a production instance's journal.
const (
	storeCursor   = "store"   // into the group's own history
	reverseCursor = "reverse" // to the old primary
)

// senderRetry is the pause after a sender gave up for a reason of its own.
const senderRetry = 2 * time.Second

// production is the instance that is a group's production at the secondary,
// with the senders that read its journal.
type production struct {
	*Instance
	m     *Manager
	log   *slog.Logger
	store *journal.Cursor

	ctx context.Context // ends with stop
	end context.CancelFunc
	wg  sync.WaitGroup

	mu      sync.Mutex
	lineage redoubt.Lineage
	sender  *ship.Sender // to the store
	reverse *reverse     // nil unless reverse replication is on
	frozen  time.Time    // when a failback froze the disks last
}

// adopt makes in the production of g: its writes are shipped into the group's
// history from now on, and to the old primary if the group's state says so.
func (m *Manager) adopt(in *Instance, g catalog.Group) error {
	cursor, err := in.journal.Cursor(storeCursor, in.Point.LSN)
	if err != nil {
		return errors.Join(err, in.close())
	}
	p := &production{Instance: in, m: m, log: m.o.Logger.With("group", string(g.ID)), store: cursor, lineage: g.Lineage}
	p.ctx, p.end = context.WithCancel(m.ctx)
	p.wg.Go(p.ship)
	p.wg.Go(p.follow)
	m.mu.Lock()
	m.prod[g.ID] = p
	m.mu.Unlock()
	if g.State == catalog.StateReverseReplicating {
		_, err = p.startReverse(g)
	}
	return err
}

// ship sends the instance's writes to the group's owner until the end.
func (p *production) ship() {
	for p.ctx.Err() == nil {
		s := ship.NewSender(ship.SenderOptions{
			Journal: p.journal, Cursor: storeCursor, Current: p.disks, Recent: p.disks, SkipCopies: true,
			Hello: func() ship.Hello { return p.hello(false) },
			Dial:  p.m.o.DialTarget, Addrs: p.targets, Logger: p.log, Now: p.m.o.Now,
		})
		p.mu.Lock()
		p.sender = s
		p.mu.Unlock()
		err := s.Run(p.ctx)
		if p.ctx.Err() != nil {
			return
		}
		var fenced *ship.FencedError
		if errors.As(err, &fenced) {
			p.disks.SetReadOnly(redoubt.ErrFenced)
		}
		p.log.Error("shipping into the history stopped", "err", err, "hint", redoubt.Hint(err))
		p.wait(senderRetry)
	}
}

// targets returns the addresses to try: the owner first.
func (p *production) targets() []string {
	c := p.m.o.Node.Catalog()
	g, _ := c.Group(p.Group)
	var addrs []string
	for _, n := range c.Nodes() {
		if n.ID == g.Owner {
			addrs = append([]string{n.Addr}, addrs...)
		} else {
			addrs = append(addrs, n.Addr)
		}
	}
	return addrs
}

func (p *production) hello(reverse bool) ship.Hello {
	p.mu.Lock()
	defer p.mu.Unlock()
	head := p.journal.Head()
	return ship.Hello{
		Group: p.Group, UUID: p.UUID, Source: string(p.m.o.ID), Epoch: p.Epoch, Lineage: p.lineage,
		Head: head.LSN, HeadTime: p.journal.HeadTime(), Tail: p.journal.Tail(), Disks: p.Disks, Reverse: reverse,
	}
}

func (p *production) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ctx.Done():
	}
}

func (p *production) frozenAt(t time.Time) {
	p.mu.Lock()
	p.frozen = t
	p.mu.Unlock()
}

func (p *production) frozenSince() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frozen
}

// stop ends the senders. The disks stay open.
func (p *production) stop() {
	p.mu.Lock()
	r := p.reverse
	p.mu.Unlock()
	p.end()
	p.wg.Wait()
	if r != nil {
		r.stop()
	}
}

func (p *production) close() error {
	p.stop()
	return p.Instance.close()
}

// discard ends the production and deletes what the node kept of it.
func (p *production) discard() error {
	p.stop()
	return errors.Join(p.Instance.close(), p.m.drop(p.dir, p.Spec))
}
