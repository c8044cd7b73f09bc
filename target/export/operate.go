package export

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Operate carries out Pause, Resume, Unprotect, Protect or DeletePoints, when
// no other operation on the group runs on this node.
func (m *Manager) Operate(ctx context.Context, id redoubt.GroupID, op catalog.Operation, by, reason string) (catalog.Group, error) {
	unlock, err := m.lock(ctx, id)
	if err != nil {
		return catalog.Group{}, err
	}
	defer unlock()
	return m.o.Store.Operate(ctx, id, op, by, reason)
}

// Erasable returns nil if the points of a group could be deleted once it is
// unprotected, or why not: it cannot be unprotected, or somebody keeps a point.
func (m *Manager) Erasable(ctx context.Context, id redoubt.GroupID) error {
	g, err := m.group(ctx, id)
	if err != nil {
		return err
	}
	if g.State != catalog.StateUnprotected {
		if err := g.Permits(catalog.OpUnprotect); err != nil {
			return err
		}
	}
	return m.o.Node.Catalog().Erasable(id)
}

// follow stops the way back while the group is paused, and lets it run on
// afterwards, whoever asked for it.
func (p *production) follow() {
	c := p.m.o.Node.Catalog()
	for p.ctx.Err() == nil {
		changed := c.Changed()
		if g, ok := c.Group(p.Group); ok && g.Epoch == p.Epoch {
			p.heed(g)
		}
		select {
		case <-changed:
		case <-p.ctx.Done():
		}
	}
}

func (p *production) heed(g catalog.Group) {
	p.mu.Lock()
	running := p.reverse != nil
	p.mu.Unlock()
	paused := g.State == catalog.StatePaused && g.Prior == catalog.StateReverseReplicating
	if running != paused && (running || g.State != catalog.StateReverseReplicating) {
		return
	}
	// Nobody else may need the stream, such as a failback.
	unlock, err := p.m.lock(p.ctx, p.Group)
	if err != nil {
		return
	}
	defer unlock()
	if g, _ = p.m.o.Node.Catalog().Group(p.Group); g.Epoch != p.Epoch {
		return
	}
	switch {
	case g.State == catalog.StateReverseReplicating:
		if _, err := p.startReverse(g); err != nil {
			p.log.Error("reverse replication could not go on after a pause", "err", err, "hint", redoubt.Hint(err))
		}
	case g.State == catalog.StatePaused:
		p.mu.Lock()
		r := p.reverse
		p.reverse = nil
		p.mu.Unlock()
		if r != nil {
			r.stop()
		}
	}
}
