package source

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
)

// stopped is the durable word of a writer that its clients are stopped for a
// planned failover. It outlives the process: only the catalog, or an operator
// by force, lets them write again. It is the journal's state stopKey.
type stopped struct {
	Job    uint64            `json:"job,omitempty"`
	Epoch  redoubt.Epoch     `json:"epoch,omitempty"`
	Held   bool              `json:"held,omitempty"`  // the clients are stopped
	Head   redoubt.LSN       `json:"head,omitempty"`  // the last write, for good
	At     int64             `json:"at,omitempty"`    // when they were stopped, Unix nanoseconds
	Limit  int64             `json:"limit,omitempty"` // nanoseconds until this side asks to cancel
	Sum    []byte            `json:"sum,omitempty"`
	Proof  []ship.DiskExtent `json:"proof,omitempty"`
	Forced uint64            `json:"forced,omitempty"` // the job that an operator overruled here
}

const stopKey = "stop"

// keepStopped makes s durable, then visible.
func (g *Group) keepStopped(s stopped) error {
	if err := g.putState(stopKey, s); err != nil {
		return err
	}
	g.mu.Lock()
	g.stop = s
	g.mu.Unlock()
	return nil
}

// held returns what stopped the clients, if anything did.
func (g *Group) held() (stopped, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stop, g.stop.Held && g.role.Mode == ModeWriter && g.stop.Epoch == g.role.Epoch
}

func (g *Group) leftover() stopped {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stop
}

// readOnlyError is what clients get for a write when the group is opened, or nil.
func (g *Group) readOnlyError() error {
	if s, ok := g.held(); ok {
		return g.stopError(s.Job)
	}
	if err := g.Role().fenceError(); err != nil {
		return err
	}
	return g.leaseError()
}

func (g *Group) stopError(job uint64) error {
	return &redoubt.Error{Op: "write to group", Object: string(g.cfg.Name), Err: fmt.Errorf("stopped for the planned failover (job %d): %w", job, redoubt.ErrReadOnly),
		Hint: "use the disks that the secondary exports; if the failover is cancelled, writes go on here"}
}

// stopWriters freezes the applications, stops the clients, and returns what the
// secondary is told. On an error everything is as it was. Applications stay
// frozen while it is open how the failover ends (for hooks.hold at most): if it
// is called off they have seen no error.
func (g *Group) stopWriters(ctx context.Context, o *ship.JobOrder) (*ship.JobReport, error) {
	thaw, err := g.Freeze(ctx, "planned-failover-"+strconv.FormatUint(o.ID, 10))
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.frozen = thaw
	g.mu.Unlock()
	crashpoint.Here("source.stop.frozen")
	if err := g.stopClients(stopped{Job: o.ID, Epoch: g.Role().Epoch, Limit: o.Limit}); err != nil {
		g.thaw()
		return nil, err
	}
	return g.stopReport()
}

// thaw lets go on what was frozen for a planned failover, if anything is.
func (g *Group) thaw() {
	g.mu.Lock()
	thaw := g.frozen
	g.frozen = nil
	g.mu.Unlock()
	if thaw == nil {
		return
	}
	if r := thaw(); r.Err != nil {
		g.log.Error("not everything could be thawed", "err", r.Err, "hint", redoubt.Hint(r.Err))
	}
}

// stopClients stops the clients for good: the head is final, durable, and said to be so on disk.
func (g *Group) stopClients(s stopped) error {
	g.step.Lock()
	defer g.step.Unlock()
	if r := g.Role(); r.Mode != ModeWriter || r.Epoch != s.Epoch {
		return &redoubt.Error{Op: "stop writes to group", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: "this host is not the group's writer any more"}
	}
	s.At = g.host.Now().UnixNano()
	g.disks.SetReadOnly(g.stopError(s.Job))
	crashpoint.Here("source.stop.held")
	s.Held, s.Head = true, g.journal.Head().LSN
	err := g.flush(s.Head)
	if err == nil {
		s.Proof, s.Sum, err = g.proof(s.Head)
	}
	if err == nil {
		err = g.keepStopped(s)
	}
	if err != nil {
		g.disks.SetReadOnly(g.readOnlyError())
		return err
	}
	crashpoint.Here("source.stop.durable")
	g.log.Warn("planned failover: the disks take no writes", "job", s.Job, "head", s.Head, "limit", time.Duration(s.Limit))
	return nil
}

// proof lists what was written last and hashes it, as the disks have it now.
func (g *Group) proof(head redoubt.LSN) (xs []ship.DiskExtent, sum []byte, err error) {
	from := max(g.journal.Tail(), head-min(head, ship.MaxProof-1))
	err = g.journal.Replay(from, func(w *redoubt.Write) error {
		if (w.Kind == redoubt.KindWrite || w.Kind.Zeroes()) && len(xs) < ship.MaxProof {
			e := w.Extent
			e.Len = min(e.Len, ship.MaxProofExtent)
			xs = append(xs, ship.DiskExtent{Disk: w.Disk, Extent: e})
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	sum, err = ship.HashExtents(xs, g.disks.ReadCurrent)
	return xs, sum, err
}

// stopReport says what the clients were stopped at, if they are.
func (g *Group) stopReport() (*ship.JobReport, error) {
	s, ok := g.held()
	if !ok {
		return nil, &redoubt.Error{Op: "stop writes to group", Object: string(g.cfg.Name), Err: redoubt.ErrState}
	}
	return &ship.JobReport{ID: s.Job, What: ship.JobStopped, Head: s.Head, Acked: g.shipped(), Held: g.heldFor(s), Sum: s.Sum, Proof: s.Proof}, nil
}

func (g *Group) heldFor(s stopped) int64 { return max(0, g.host.Now().UnixNano()-s.At) }

// resumeWriters lets the clients of the job's stop write again; forced says that an
// operator wants it, not the catalog.
func (g *Group) resumeWriters(job uint64, forced bool) error {
	if err := g.release(job, forced); err != nil {
		return err
	}
	crashpoint.Here("source.resume.open")
	g.thaw()
	return nil
}

func (g *Group) release(job uint64, forced bool) error {
	g.step.Lock()
	defer g.step.Unlock()
	s, ok := g.held()
	if !ok || s.Job != job {
		return &redoubt.Error{Op: "resume writes to group", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: "they are not stopped for this job"}
	}
	n := stopped{Forced: s.Forced}
	if forced {
		n.Forced = job
	}
	if err := g.keepStopped(n); err != nil {
		return err
	}
	crashpoint.Here("source.resume.durable")
	g.disks.SetReadOnly(g.readOnlyError())
	g.log.Warn("the planned failover came to nothing: writes go on", "job", job, "stopped_for", time.Duration(g.heldFor(s)), "forced", forced)
	return nil
}

// ForceResume lets clients write although the catalog has not agreed. If the
// secondary was promoted meanwhile, what is written here from now on is a tail
// that its history does not have: this side is fenced at its next contact, and
// the receipt lists it.
func (g *Group) ForceResume() (job uint64, err error) {
	s, ok := g.held()
	if !ok {
		return 0, &redoubt.Error{Op: "force writes to group", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: "its writers are not stopped by a planned failover"}
	}
	if err := g.resumeWriters(s.Job, true); err != nil {
		return 0, err
	}
	g.noteNews()
	return s.Job, nil
}

// Stopped says since when, and for which job, the clients are stopped.
type Stopped struct {
	Job   uint64
	Head  redoubt.LSN
	Since time.Time
	Limit time.Duration // after which this side asks to cancel
	Err   error         // why the secondary could not be asked; nil if it answered
	Hint  string
}

func (g *Group) stoppedStatus() *Stopped {
	s, ok := g.held()
	if !ok {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	out := &Stopped{Job: s.Job, Head: s.Head, Since: time.Unix(0, s.At), Limit: time.Duration(s.Limit), Err: g.askErr}
	if g.askErr != nil {
		out.Hint = forceHint(g.cfg.Name)
	}
	return out
}
