package cluster

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
)

// stuckStore is a log store whose disk hangs while the mutex is held.
type stuckStore struct {
	*raft.InmemStore
	disk sync.Mutex
}

func (s *stuckStore) StoreLogs(l []*raft.Log) error {
	s.disk.Lock()
	defer s.disk.Unlock()
	return s.InmemStore.StoreLogs(l)
}

func TestHungDiskIsNoticed(t *testing.T) {
	fatal, done := make(chan error, 1), make(chan struct{})
	defer close(done)
	dog := newWatchdog(50*time.Millisecond, time.Now, func(err error) { fatal <- err })
	store := &stuckStore{InmemStore: raft.NewInmemStore()}
	log := watchedLog{store, dog, func([]*raft.Log) {}}
	if err := log.StoreLogs([]*raft.Log{{Index: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := dog.check(); err != nil {
		t.Fatalf("a healthy disk: %v", err)
	}
	store.disk.Lock()
	var wg sync.WaitGroup
	wg.Go(func() { _ = log.StoreLogs([]*raft.Log{{Index: 2}}) })
	go dog.run(done)
	select {
	case err := <-fatal:
		if !errors.Is(err, redoubt.ErrFailed) || redoubt.Hint(err) == "" {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("not noticed within 10 s")
	}
	store.disk.Unlock()
	wg.Wait()
}
