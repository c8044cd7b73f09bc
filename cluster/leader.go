package cluster

import (
	"sync"

	"github.com/hashicorp/raft"
)

// leaderWatch tells when the leader changes, so that a proposal that hangs on a
// dead one is sent again at once.
type leaderWatch struct {
	r        *raft.Raft
	observer *raft.Observer
	events   chan raft.Observation
	done     chan struct{}

	mu      sync.Mutex
	changed chan struct{}
}

func watchLeader(r *raft.Raft) *leaderWatch {
	w := &leaderWatch{r: r, events: make(chan raft.Observation, 16), done: make(chan struct{}), changed: make(chan struct{})}
	// Not blocking: Raft must never wait for us. A dropped event costs one attempt's timeout.
	w.observer = raft.NewObserver(w.events, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	r.RegisterObserver(w.observer)
	go w.run()
	return w
}

func (w *leaderWatch) run() {
	defer close(w.done)
	for range w.events {
		w.mu.Lock()
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
	}
}

// next returns a channel that is closed at the next change.
func (w *leaderWatch) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// close ends the watch; Raft must have been shut down.
func (w *leaderWatch) close() {
	w.r.DeregisterObserver(w.observer)
	close(w.events)
	<-w.done
}
