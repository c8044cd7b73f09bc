package cluster

import (
	"context"
	"sync"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// session numbers the proposals of this node's run. A proposal keeps its
// serial over all retries, and the FSM answers a serial once.
type session struct {
	client catalog.ClientID

	mu    sync.Mutex
	next  uint64 // the next serial
	floor uint64 // the oldest open one, or next
	open  map[uint64]bool
	moved chan struct{} // closed when floor rises
}

func newSession(id catalog.ClientID) *session {
	return &session{client: id, next: 1, floor: 1, open: map[uint64]bool{}, moved: make(chan struct{})}
}

// begin takes the next serial. It waits while that would run ahead of the
// oldest open proposal by more than the FSM remembers.
func (s *session) begin(ctx context.Context) (serial, floor uint64, err error) {
	for {
		s.mu.Lock()
		if s.next-s.floor < catalog.Window {
			serial, floor = s.next, s.floor
			s.next++
			s.open[serial] = true
			s.mu.Unlock()
			return serial, floor, nil
		}
		moved := s.moved
		s.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
}

// end closes the proposal: it will not be sent again.
func (s *session) end(serial uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, serial)
	was := s.floor
	for s.floor < s.next && !s.open[s.floor] {
		s.floor++
	}
	if s.floor != was {
		close(s.moved)
		s.moved = make(chan struct{})
	}
}
