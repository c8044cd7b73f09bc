package source

import (
	"context"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/ship"
)

// Hello implements ship.Sink for the way back: a master target whose epoch is
// later than this side's asks to write to the group's disks.
func (h *Host) Hello(_ context.Context, peer pki.Identity, hello ship.Hello) (ship.Welcome, ship.Stream, error) {
	deny := func(err error, hint string) (ship.Welcome, ship.Stream, error) {
		return ship.Welcome{}, nil, &redoubt.Error{Op: "reverse replicate", Object: string(hello.Group), Err: err, Hint: hint}
	}
	if !hello.Reverse || peer.Role != pki.RoleTarget {
		return deny(redoubt.ErrDenied, "a source takes only the way back, and only from a master target")
	}
	g, err := h.Group(hello.Group)
	if err != nil {
		return ship.Welcome{}, nil, err
	}
	if hello.UUID != g.uuid() {
		return deny(redoubt.ErrInvalid, "the group here has the same name and another identity; nothing was changed")
	}
	if err := hello.Lineage.Validate(); err != nil {
		return ship.Welcome{}, nil, err
	}
	if hello.Lineage.Current() != hello.Epoch {
		return deny(redoubt.ErrInvalid, "the epoch is not the lineage's last one")
	}
	role := g.Role()
	if hello.Epoch < role.Epoch || hello.Epoch == role.Epoch && role.Mode == ModeWriter {
		return ship.Welcome{Fenced: true, Epoch: role.Epoch, Lineage: role.Lineage, Reason: "this side has a later epoch"}, nil, nil
	}
	if hello.Probe {
		g.askSoon() // a failback waits for this side to take over
		return ship.Welcome{Epoch: role.Epoch, Lineage: role.Lineage, Committed: g.journal.Head(), State: string(role.Mode)}, nil, nil
	}
	if role.Mode == ModeWriter {
		if err := g.fence(ship.Welcome{Epoch: hello.Epoch, Lineage: hello.Lineage, Writer: "target/" + peer.Name, Reason: "reverse replication"}); err != nil {
			return ship.Welcome{}, nil, err
		}
	}
	return g.openReplica(peer, hello)
}

// openReplica begins a reverse stream: it goes on where an earlier one of the
// same epoch stopped, or asks for a resynchronisation.
func (g *Group) openReplica(peer pki.Identity, hello ship.Hello) (ship.Welcome, ship.Stream, error) {
	g.step.Lock()
	defer g.step.Unlock()
	if err := g.mayFollow(); err != nil {
		return ship.Welcome{}, nil, err
	}
	if err := g.checkWayBack(hello.Disks); err != nil {
		return ship.Welcome{}, nil, err
	}
	role := g.Role()
	r := &replica{group: g, epoch: hello.Epoch, lineage: hello.Lineage, disks: hello.Disks, acks: make(chan replicaAck, 64)}
	// The stream is the sender's epoch; Committed says where this side is.
	w := ship.Welcome{Epoch: hello.Epoch, Lineage: hello.Lineage, Committed: g.journal.Head(), State: string(role.Mode), Writer: "target/" + peer.Name}
	mine := w.Committed.Epoch // the journal's: the role is ahead of it if an earlier Begin was cut short
	goesOn := role.Mode == ModeReplica && role.Epoch == hello.Epoch && mine == hello.Epoch
	w.Journal = g.journal.ID()
	w.Unknown = role.Replaced || role.Mode == ModeReplica && mine == role.Epoch && !role.Whole(w.Committed.LSN)
	switch {
	case goesOn && !role.Replaced:
	case w.Unknown && role.Mode == ModeReplica: // a copy that was cut short, or another disk: whatever is there is compared
		r.resync, r.unknown = true, true
		w.Resync, w.DirtyAfter = true, w.Committed.LSN
		r.dirtyAfter = w.DirtyAfter
	default:
		fork, ok := hello.Lineage.ForkFrom(mine)
		if !ok {
			return ship.Welcome{}, nil, &redoubt.Error{Op: "reverse replicate", Object: string(g.cfg.Name), Err: redoubt.ErrInvalid,
				Hint: fmt.Sprintf("epoch %d of this side is not part of the history of epoch %d", mine, hello.Epoch)}
		}
		r.fork = fork
		if len(g.foreign()) == 0 && g.equal(role, hello, w.Committed) {
			if err := g.follow(hello); err != nil {
				return ship.Welcome{}, nil, err
			}
			w.Committed = g.journal.Head()
			break
		}
		r.resync = true
		// What the journal has trimmed the secondary knows, as far as it got it.
		trimmed := g.journal.Tail() - 1
		if cur := g.secondary(); cur != nil {
			trimmed = min(trimmed, cur.Acked())
		}
		w.Resync, w.DirtyAfter = true, max(min(fork, w.Committed.LSN), trimmed)
		r.dirtyAfter = w.DirtyAfter
	}
	g.swapReplica(r)
	go r.acknowledge()
	return w, r, nil
}

// replica is an open reverse stream. It implements ship.Stream.
type replica struct {
	group      *Group
	epoch      redoubt.Epoch
	lineage    redoubt.Lineage
	disks      []redoubt.Disk // as the stream has them
	resync     bool
	unknown    bool        // the disks hold a mixture; there is no tail to be saved
	fork       redoubt.LSN // last LSN that both sides share
	dirtyAfter redoubt.LSN

	mu    sync.Mutex
	ended bool
	acks  chan replicaAck
}

type replicaAck struct {
	last redoubt.LSN
	done func(redoubt.Position, error)
}

// Dirty lists what this side wrote above the fork and the secondary may not
// know: it must be overwritten too.
func (r *replica) Dirty(yield func(redoubt.DiskID, redoubt.Extent) bool) error {
	dirty, err := r.group.journal.Owed(r.dirtyAfter)
	if err != nil {
		return err
	}
	for _, d := range r.group.foreign() { // nothing of it is the group's yet
		if !yield(d.ID, redoubt.Extent{Len: d.Size}) {
			return nil
		}
	}
	for d, extents := range dirty {
		for _, e := range extents {
			if !yield(d, e) {
				return nil
			}
		}
	}
	return nil
}

// Begin prepares the disks for the stream's first write. On a resynchronisation
// the orphan tail is saved as a branch first; then the role says that the disks
// hold a mixture; then the journal begins anew. A crash between two steps ends
// in the next resynchronisation.
func (r *replica) Begin(start redoubt.LSN) error {
	g := r.group
	g.step.Lock()
	defer g.step.Unlock()
	if !g.holdsReplica(r) {
		return &redoubt.Error{Op: "begin the way back", Object: string(g.cfg.Name), Err: redoubt.ErrFenced}
	}
	if !r.resync {
		if want := g.journal.Head().LSN + 1; start != want {
			return &redoubt.Error{Op: "begin the way back", Object: string(g.cfg.Name), Err: redoubt.ErrGap,
				Hint: fmt.Sprintf("this side goes on at LSN %d, the stream at %d", want, start)}
		}
		return nil
	}
	g.ensureReceipt()
	role := g.Role()
	if !r.unknown && g.journal.Head().LSN > r.fork && g.journal.Epoch() == role.Epoch {
		// What the journal has trimmed above the fork, the secondary keeps.
		dir, err := g.saveBranch(branchName(role.Epoch, r.fork), max(r.fork, g.journal.Tail()-1))
		if err != nil {
			return err
		}
		role.Branch = dir
	}
	role = Role{Mode: ModeReplica, Epoch: r.epoch, Lineage: r.lineage, Branch: role.Branch, Replaced: role.Replaced}
	if err := g.setRole(role); err != nil {
		return err
	}
	// What this side has grown by and the stream does not know belongs to the
	// branch alone; for the history it is new when this side says its size again.
	for _, d := range r.disks {
		if err := g.disks.Blank(context.Background(), d.ID, d.Size); err != nil {
			return err
		}
	}
	if err := g.disks.Reset(context.Background(), redoubt.Position{Epoch: r.epoch, LSN: start - 1}); err != nil {
		return err
	}
	if err := g.secondary().Ack(start - 1); err != nil {
		return err
	}
	r.resync = false
	return g.known() // from here on WholeAt says it
}

// Append journals and applies the delta's writes; done follows the sync.
func (r *replica) Append(d *ship.Delta, done func(redoubt.Position, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		done(redoubt.Position{}, &redoubt.Error{Op: "take the way back", Object: string(d.Group), Err: redoubt.ErrFenced})
		return
	}
	ws, err := d.Writes()
	if err == nil {
		err = r.group.disks.Replicate(r.epoch, ws)
	}
	if err == nil && d.Baseline != 0 {
		err = r.noteBaseline(d.Baseline)
	}
	if err != nil {
		done(redoubt.Position{}, err)
		return
	}
	r.acks <- replicaAck{d.Last, done}
}

// noteBaseline records from which LSN on the disks are whole.
func (r *replica) noteBaseline(at redoubt.LSN) error {
	g := r.group
	g.mu.Lock()
	defer g.mu.Unlock()
	role := g.role
	if role.Mode != ModeReplica || role.Epoch != r.epoch {
		return &redoubt.Error{Op: "take the way back", Object: string(g.cfg.Name), Err: redoubt.ErrFenced}
	}
	role.WholeAt = at
	if err := role.save(g.journal); err != nil {
		return err
	}
	g.role = role
	return nil
}

// acknowledge syncs what was appended and answers, one sync for all that wait.
func (r *replica) acknowledge() {
	for a := range r.acks {
		waiting := []replicaAck{a}
		for more := true; more; {
			select {
			case b, ok := <-r.acks:
				if more = ok; ok {
					waiting = append(waiting, b)
				}
			default:
				more = false
			}
		}
		last := waiting[len(waiting)-1].last
		err := r.group.flush(last)
		if err == nil {
			// The secondary sent it, so it is safe there: nothing holds the journal back.
			err = r.group.secondary().Ack(last)
		}
		for _, b := range waiting {
			b.done(redoubt.Position{Epoch: r.epoch, LSN: b.last}, err)
		}
	}
}

// swapReplica ends the stream that is open and puts r, which may be nil, in its
// place. The caller holds g.step.
func (g *Group) swapReplica(r *replica) {
	g.mu.Lock()
	old := g.replica
	g.replica = r
	g.mu.Unlock()
	if old != nil {
		old.end()
	}
}

func (g *Group) holdsReplica(r *replica) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.replica == r
}

// Heartbeat is part of ship.Stream; the acknowledgements say all there is.
func (r *replica) Heartbeat(redoubt.LSN, int64, int64) {}

// Close ends the stream.
func (r *replica) Close() { r.end() }

func (r *replica) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.ended = true
		close(r.acks)
	}
}
