package source

import (
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
)

// equal reports whether this side, whose last write is head, is what the
// stream's epoch began with, and whether the stream can go on from there: after
// a planned failover it is, and nothing has to be copied. hello.Tail is the
// first record that the other side still has.
func (g *Group) equal(role Role, hello ship.Hello, head redoubt.Position) bool {
	f, ok := hello.Lineage.Find(hello.Epoch)
	return ok && f.Parent == head.Epoch && f.At == head.LSN && hello.Tail <= head.LSN+1 && role.Whole(head.LSN)
}

// follow makes this side, which is equal, a replica of the stream's epoch. The
// role goes first: a crash in between finds the two sides equal again. The
// caller holds g.step.
func (g *Group) follow(hello ship.Hello) error {
	head := g.journal.Head().LSN
	g.ensureReceipt()
	if err := g.flush(head); err != nil {
		return err
	}
	if err := g.setRole(Role{Mode: ModeReplica, Epoch: hello.Epoch, Lineage: hello.Lineage, WholeAt: max(head, 1), Branch: g.Role().Branch}); err != nil {
		return err
	}
	crashpoint.Here("source.reverse.role")
	if err := g.journal.SetEpoch(hello.Epoch); err != nil {
		return err
	}
	g.disks.SetReadOnly(redoubt.ErrReadOnly)
	return g.secondary().Ack(head) // the secondary was promoted there: it has everything
}
