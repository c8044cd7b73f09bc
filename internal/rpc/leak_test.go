package rpc_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/pki"
)

// A connection between nodes lives for months: a call that is over must leave
// nothing behind on it.
func TestEndedCallsLeaveNothing(t *testing.T) {
	s := newSite(t)
	s.srv.Handle("nop", func(context.Context, pki.Identity, []byte) ([]byte, error) { return nil, nil })
	call := func(n int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for range n {
			if _, err := s.pool.Call(ctx, s.addr(), "nop"); err != nil {
				t.Fatal(err)
			}
		}
	}
	objects := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapObjects
	}
	call(100)
	before := objects()
	const calls = 3000
	call(calls)
	if after := objects(); after > before+calls/2 {
		t.Fatalf("%d calls have left %d objects", calls, after-before)
	}
}
