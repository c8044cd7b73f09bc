package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

func TestBound(t *testing.T) {
	c := New[int, string](100)
	for i := range 20 {
		c.Put(i, "v", 10)
		c.Get(0) // stays the most recently used
	}
	if st := c.Stats(); st.Bytes != 100 || st.Items != 10 {
		t.Fatalf("%+v", st)
	}
	if _, ok := c.Get(0); !ok {
		t.Error("what was used last is gone")
	}
	if _, ok := c.Get(5); ok {
		t.Error("what was not used is there")
	}
	c.Put(99, "big", 101)
	if _, ok := c.Get(99); ok {
		t.Error("a value larger than the bound is kept")
	}
	c.Remove(0)
	if _, ok := c.Get(0); ok || c.Stats().Bytes != 90 {
		t.Errorf("after Remove: %+v", c.Stats())
	}
}

func TestLoadIsShared(t *testing.T) {
	c := New[int, int](100)
	broken := errors.New("broken")
	if _, err := c.Load(1, func() (int, int64, error) { return 0, 1, broken }); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	started, release := make(chan struct{}), make(chan struct{})
	calls := 0
	var wg sync.WaitGroup
	load := func() (int, int64, error) {
		calls++ // a second call at the same time is a race that -race reports
		close(started)
		<-release
		return 7, 1, nil
	}
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if v, err := c.Load(1, load); v != 7 || err != nil {
				t.Errorf("%d, %v", v, err)
			}
		}()
	}
	<-started
	close(release)
	wg.Wait()
	if calls != 1 {
		t.Fatalf("loaded %d times", calls)
	}
}

func TestAhead(t *testing.T) {
	c := New[int, string](100)
	land := c.Ahead(1)
	if land == nil || c.Ahead(1) != nil {
		t.Fatal("a value that is on its way is brought twice, or not at all")
	}
	got := make(chan string)
	go func() {
		v, err := c.Load(1, func() (string, int64, error) { return "loaded", 6, nil })
		if err != nil {
			t.Error(err)
		}
		got <- v
	}()
	c.awaitMisses(1)
	land("brought", 7, nil)
	if v := <-got; v != "brought" {
		t.Fatalf("got %q", v)
	}
	if c.Ahead(1) != nil {
		t.Fatal("a value that is there is brought again")
	}
	land = c.Ahead(2)
	go func() {
		v, err := c.Load(2, func() (string, int64, error) { return "mine", 4, nil })
		if err != nil {
			t.Errorf("another one's error came: %v", err)
		}
		got <- v
	}()
	c.awaitMisses(2)
	land("", 0, errors.New("did not work"))
	if v := <-got; v != "mine" {
		t.Fatalf("got %q", v)
	}
}

// awaitMisses returns when n callers have found nothing: the last one waits.
func (c *Cache[K, V]) awaitMisses(n uint64) {
	for c.Stats().Misses < n {
		runtime.Gosched()
	}
}

// A caller that gives up, since its reader is closed or has waited long enough,
// takes nobody with it who waits for the same value.
func TestWhoGivesUpDoesSoAlone(t *testing.T) {
	for _, reason := range []error{context.Canceled, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			c := New[int, int](100)
			release := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				_, err := c.Load(1, func() (int, int64, error) {
					<-release
					return 0, 0, fmt.Errorf("read: %w", reason)
				})
				if !errors.Is(err, reason) {
					t.Errorf("who gave up got %v", err)
				}
			})
			synctest.Wait()
			loads := 0
			for range 8 {
				wg.Go(func() {
					v, err := c.Load(1, func() (int, int64, error) {
						loads++
						return 7, 1, nil
					})
					if v != 7 || err != nil {
						t.Errorf("who waited got %d, %v", v, err)
					}
				})
			}
			synctest.Wait()
			close(release)
			wg.Wait()
			if loads != 1 {
				t.Errorf("%d loads by those who waited", loads)
			}
		})
	}
}
