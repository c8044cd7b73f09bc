package target

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt/target/pace"
)

// RepairStats say how far the repair of a node is.
type RepairStats struct {
	Missing      int           // segments of which this node's shard is to be rebuilt
	MissingBytes int64         // of these shards
	Bare         int           // of Missing: no further shard may be lost; they come first
	Failed       int           // of Missing: too few shards could be read at the last attempt
	Rate         float64       // bytes a second, rebuilt over the last ticks
	ETA          time.Duration // until nothing is missing, at that rate; 0 if not known
	Allowed      int64         // bytes a second that ingest leaves
	Pace         string        // why it is that much
	Lag          time.Duration // age of the oldest delta that waits for its commit, on any node
	Gone         uint64        // shards that the catalog said were here and the log did not have
	LastErr      error         // of an attempt that failed; nil once nothing is missing
}

func (r *repairer) stats() RepairStats {
	st := RepairStats{Rate: r.out.PerSecond(), Gone: r.gone.Load()}
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
func (r *repairer) measure(ctx context.Context) {
	t := time.NewTicker(r.s.o.Tick)
	defer t.Stop()
	var in, out uint64
	for {
		now := time.Now()
		i, o := r.s.shards.Stats().Ingested, r.s.counter.repairedBytes.Load()
		r.in.Tick(now, int64(i-in))
		r.out.Tick(now, int64(o-out))
		in, out = i, o
		lag := r.s.ingestLag()
		r.mu.Lock()
		r.lag = lag
		bare := r.todo.bare > 0
		r.mu.Unlock()
		before, _ := r.pace.Allowed()
		r.pace.Set(pace.Rate(pace.Load{Ingest: int64(r.in.PerSecond()), Lag: lag, Bound: r.s.o.RepairLag, Rate: before, Most: r.s.o.RepairBytes, Bare: bare}))
		present, why := r.pace.Allowed()
		// The scrub gives way in the same measure, down to a sixteenth.
		scrub := float64(r.s.o.ScrubBytes) * max(1.0/16, float64(present)/float64(r.s.o.RepairBytes))
		r.s.scrub.pace.Set(int64(scrub), why)
		r.s.comparing.Set(int64(float64(r.s.o.CompareBytes)*max(1.0/16, float64(present)/float64(r.s.o.RepairBytes))), why)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// ingestLag is the age of the oldest delta that waits for its commit: of the
// groups that this node owns, and of the others as their owners last said.
func (s *Store) ingestLag() (lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		lag = max(lag, st.waits())
	}
	for id, c := range s.contacts {
		if s.streams[id] == nil && time.Since(c.heard) < lagFresh {
			lag = max(lag, time.Duration(c.Lag))
		}
	}
	return lag
}

// lagFresh is how long another owner's word of its lag counts.
const lagFresh = 3 * time.Second

// waits returns for how long the oldest delta of the stream has not been committed.
func (st *stream) waits() time.Duration {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.pending) == 0 || st.err != nil {
		return 0
	}
	return time.Since(st.pending[0].begun)
}
