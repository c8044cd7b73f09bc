package target

import (
	"time"
)

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
