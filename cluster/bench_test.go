package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// BenchmarkCommit: segments committed on three nodes with real syncs, TLS and
// forwarding, by a number of groups at once through a follower.
func BenchmarkCommit(b *testing.B) {
	for _, groups := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			s := newSite(b, 3)
			h := s.follower()
			var ids []redoubt.GroupID
			for i := range groups {
				ids = append(ids, s.propose(h, createG(fmt.Sprintf("g%d", i))).(catalog.Group).ID)
			}
			var left, spent atomic.Int64
			b.ResetTimer()
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for _, id := range ids {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						began := time.Now()
						s.commitNext(h, id, 1)
						spent.Add(int64(time.Since(began)))
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(spent.Load())/float64(b.N)/1e6, "ms/commit")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
