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
	dog := newWatchdog(50*time.Millisecond, func(err error) { fatal <- err })
	store := &stuckStore{InmemStore: raft.NewInmemStore()}
	log := watchedLog{store, dog, func([]*raft.Log) {}}
	if err := log.StoreLogs([]*raft.Log{{Index: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := dog.look(); err != nil {
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

// What counts is how often an operation was seen under way: a process that stood
// still has not looked.
func TestWatchdogCountsLooks(t *testing.T) {
	dog := newWatchdog(time.Minute, func(err error) { t.Error(err) })
	end := dog.begin("store log entries")
	for range looks {
		noErr(t, dog.look())
	}
	end()
	noErr(t, dog.look())
	dog.begin("store log entries")
	for range looks {
		noErr(t, dog.look())
	}
	if err := dog.look(); !errors.Is(err, redoubt.ErrFailed) {
		t.Errorf("a disk that hangs while it is watched: %v", err)
	}
}
