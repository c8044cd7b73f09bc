package segment

import (
	"testing"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// A shard that is forgotten while its file is sealed is forgotten.
func TestForgetWhileAFileIsSealed(t *testing.T) {
	rng := seeded.Rand(t)
	l, err := Open(dir, Options{FS: newFS(t), FileSize: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := uint64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s := &Shard{ID: ID{Group: "other", UUID: "u", Epoch: 1, Ordinal: i}, K: 1, Size: 4000, Data: make([]byte, 4000)}
			if err := l.Put(t.Context(), s); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	trials := uint64(2000)
	if testing.Short() {
		trials = 500
	}
	for i := range trials {
		s := shard(rng, "g", i)
		s.Data, s.Head = []byte("data"), nil
		put(t, l, s)
		if err := l.Forget(s.ID); err != nil {
			t.Error(err)
		}
		if has(t, l, s.ID) {
			t.Errorf("shard %d is there", i)
			break
		}
	}
	close(stop)
	<-done
}
