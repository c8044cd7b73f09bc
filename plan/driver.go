package plan

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Options are what a Driver needs. All but Logger, Now, Lease and Look are required.
type Options struct {
	ID      redoubt.NodeID
	Cluster Cluster
	Site    Site
	Logger  *slog.Logger
	Now     func() time.Time
	// Lease is how long a holder must have been silent before the leader takes
	// its runs over. A holder that reaches no majority for half of it stops what it
	// is doing. Default 10 s.
	Lease time.Duration
	// Look is how often runs are looked at beside every change of the catalog. Default 1 s.
	Look time.Duration
}

// Driver carries out the runs that this node holds, and takes over those of
// nodes that are gone. Its methods may be called concurrently.
type Driver struct {
	o   Options
	ctx context.Context // ends with Close
	end context.CancelFunc
	wg  sync.WaitGroup

	mu      sync.Mutex
	mine    map[string]uint64    // run: the term under which this life of the node holds it
	drives  map[string]*drive    // under way
	silent  map[string]time.Time // run: since when its holder does not answer
	contact time.Time            // last answer of a majority
}

// Open returns a Driver that goes on with the runs of the catalog.
func Open(o Options) *Driver {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	if o.Look <= 0 {
		o.Look = time.Second
	}
	d := &Driver{o: o, mine: map[string]uint64{}, drives: map[string]*drive{}, silent: map[string]time.Time{}, contact: o.Now()}
	d.ctx, d.end = context.WithCancel(context.Background())
	d.wg.Go(d.look)
	d.wg.Go(d.keepContact)
	return d
}

// Close stops what this node carries out; another one, or the next life of this
// one, goes on with it.
func (d *Driver) Close() error {
	d.end()
	d.wg.Wait()
	return nil
}

// look compares what is carried out here with what should be, until Close.
func (d *Driver) look() {
	t := time.NewTicker(d.o.Look)
	defer t.Stop()
	for {
		changed := d.o.Cluster.Catalog().Changed()
		runs := d.o.Cluster.Catalog().Runs("")
		d.stopStale(runs)
		for i := range runs {
			if r := &runs[i]; active(r) && d.reaches() {
				d.consider(r)
			}
		}
		select {
		case <-d.ctx.Done():
			return
		case <-changed:
		case <-t.C:
		}
	}
}

// active reports whether there is something to carry out.
func active(r *catalog.Run) bool {
	return r.State == catalog.RunRunning || r.State == catalog.RunUndoing
}

// stopStale ends what is carried out under another term, or in another phase.
func (d *Driver) stopStale(runs []catalog.Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, dr := range d.drives {
		i := slices.IndexFunc(runs, func(r catalog.Run) bool { return r.ID() == id })
		switch {
		case i < 0, runs[i].Holder != d.o.ID, runs[i].Term != dr.term:
			dr.stop(errMoved)
		case runs[i].State != dr.phase:
			dr.stop(ErrCancelled)
		}
	}
}

// consider starts to carry out the run if this node holds it, and claims it if
// nobody else will.
func (d *Driver) consider(r *catalog.Run) {
	id := r.ID()
	d.mu.Lock()
	_, busy := d.drives[id]
	term := d.mine[id]
	gone := d.gone(r)
	d.mu.Unlock()
	switch {
	case busy:
	case r.Holder == d.o.ID && r.Term == term:
		d.begin(r)
	case r.Holder == d.o.ID, gone && d.o.Cluster.IsLeader():
		d.claim(r)
	}
}

// gone reports whether the holder has been silent for long enough; mu is held.
func (d *Driver) gone(r *catalog.Run) bool {
	id := r.ID()
	if d.o.Cluster.Alive(r.Holder) || r.Holder == d.o.ID {
		delete(d.silent, id)
		return false
	}
	since, ok := d.silent[id]
	if !ok {
		since = d.o.Now()
		d.silent[id] = since
	}
	return d.o.Now().Sub(since) >= d.o.Lease
}

func (d *Driver) claim(r *catalog.Run) {
	ctx, cancel := context.WithTimeout(d.ctx, d.o.Lease)
	defer cancel()
	_, err := d.o.Cluster.Propose(ctx, catalog.ClaimRun{Plan: r.Plan, Number: r.Number, Node: d.o.ID, Term: r.Term})
	if err != nil {
		d.o.Logger.Warn("a run of a plan was not taken over", "run", r.ID(), "err", err)
		return
	}
	d.hold(r.ID(), r.Term+1)
	d.o.Logger.Info("run of a plan taken over", "run", r.ID(), "from", string(r.Holder), "term", r.Term+1)
}

// hold notes that this life of the node holds the run under the term.
func (d *Driver) hold(id string, term uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mine[id] = term
}

func (d *Driver) begin(r *catalog.Run) {
	dr := &drive{d: d, id: r.ID(), plan: r.Plan, number: r.Number, term: r.Term, phase: r.State, log: d.o.Logger.With("run", r.ID())}
	dr.ctx, dr.stop = context.WithCancelCause(d.ctx)
	d.mu.Lock()
	d.drives[dr.id] = dr
	d.mu.Unlock()
	d.wg.Go(func() {
		if err := dr.run(); err != nil && dr.ctx.Err() == nil {
			dr.log.Warn("a run of a plan does not go on; tried again", "err", err, "hint", redoubt.Hint(err))
			_ = sleep(dr.ctx, d.o.Look) // not in a tight loop
		}
		dr.stop(nil)
		d.mu.Lock()
		delete(d.drives, dr.id)
		d.mu.Unlock()
	})
}

// keepContact asks for a majority again and again. Without one, somebody else
// may take the runs over: then nothing more is done here.
func (d *Driver) keepContact() {
	every := d.o.Lease / 8
	for sleep(d.ctx, every) == nil {
		ctx, cancel := context.WithTimeout(d.ctx, d.o.Lease/4)
		err := d.o.Cluster.Barrier(ctx)
		cancel()
		d.mu.Lock()
		if err == nil {
			d.contact = d.o.Now()
		}
		lost := d.o.Now().Sub(d.contact) >= d.o.Lease/2
		if lost {
			for _, dr := range d.drives {
				dr.stop(errAlone)
			}
		}
		d.mu.Unlock()
	}
}

// reaches reports whether this node may carry out anything.
func (d *Driver) reaches() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.o.Now().Sub(d.contact) < d.o.Lease/2
}

func sleep(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
