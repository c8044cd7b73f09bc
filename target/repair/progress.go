package repair

import (
	"time"

	"github.com/redoubt-dr/redoubt/target/pace"
)

// Stats say how far the repair of a node is.
type Stats struct {
	Missing      int           // segments of which this node's shard is to be rebuilt
	MissingBytes int64         // of these shards
	Bare         int           // of Missing: no further shard may be lost; they come first
	Failed       int           // of Missing: too few shards could be read at the last attempt
	Rate         float64       // bytes a second, rebuilt over the last ticks
	ETA          time.Duration // until nothing is missing, at that rate; 0 if not known
	Allowed      int64         // bytes a second that ingest leaves
	Pace         string        // why it is that much
	Lag          time.Duration // age of the oldest delta that waits for its commit, on any node
	Gone         uint64        // shards that the catalog said were here and the log did not have, but for rotten ones
	LastErr      error         // of an attempt that failed; nil once nothing is missing

	Repaired      uint64 // shards that this node rebuilt since it started
	RepairedBytes uint64
	Moved         uint64 // shards that this node took over from another
	MovedBytes    uint64
}

// Stats returns the present figures.
func (r *Repairer) Stats() Stats {
	st := Stats{Rate: r.out.PerSecond(), Gone: r.gone.Load(),
		Repaired: r.repaired.Load(), RepairedBytes: r.repairedBytes.Load(), Moved: r.moved.Load(), MovedBytes: r.movedBytes.Load()}
	st.Allowed, st.Pace = r.pace.Allowed()
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Missing, st.MissingBytes, st.Bare, st.Failed, st.Lag, st.LastErr = r.todo.segments, r.todo.bytes, r.todo.bare, r.failed, r.lag, r.lastErr
	if st.MissingBytes > 0 && st.Rate >= 1 {
		st.ETA = time.Duration(float64(st.MissingBytes) / st.Rate * float64(time.Second))
	}
	return st
}

// measure looks at the load at every Tick and sets the pace.
func (r *Repairer) measure() {
	t := time.NewTicker(r.o.Tick)
	defer t.Stop()
	var in, out uint64
	for {
		now := time.Now()
		i, o := r.o.Shards.Stats().Ingested, r.repairedBytes.Load()
		r.in.Tick(now, int64(i-in))
		r.out.Tick(now, int64(o-out))
		in, out = i, o
		lag := r.o.Lag()
		r.mu.Lock()
		r.lag = lag
		bare := r.todo.bare > 0
		r.mu.Unlock()
		before, _ := r.pace.Allowed()
		r.pace.Set(pace.Rate(pace.Load{Ingest: int64(r.in.PerSecond()), Lag: lag, Bound: r.o.Bound, Rate: before, Most: r.o.Most, Bare: bare}))
		present, why := r.pace.Allowed()
		if r.o.Give != nil {
			r.o.Give(max(1.0/16, float64(present)/float64(r.o.Most)), why)
		}
		select {
		case <-t.C:
		case <-r.ctx.Done():
			return
		}
	}
}
